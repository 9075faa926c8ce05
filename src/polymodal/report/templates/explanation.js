(function () {
  "use strict";
  var names = 0;
  function slider(after, text, max, value, change) {
    var label = document.createElement("label"), name = document.createElement("span"), input = document.createElement("input"), said = document.createElement("output");
    label.className = "control"; name.textContent = text; input.type = "range"; input.min = 0; input.max = max; input.value = value;
    input.id = "control-" + (names += 1); label.htmlFor = input.id;
    function update() { said.textContent = change(Number(input.value)); input.setAttribute("aria-valuetext", said.textContent); }
    input.addEventListener("input", update);
    label.append(name, input, said); after.after(label); update();
  }
  document.querySelectorAll(".heated").forEach(function (box) {
    if (box.querySelector(".frame, .parts")) {
      slider(box, "Heat", 100, 75, function (value) { box.style.setProperty("--heat", value / 100); return value + "%"; });
    }
    if (box.classList.contains("film")) {
      var frames = Array.from(box.querySelectorAll(".frame"));
      box.classList.add("played");
      slider(box, "Frame", frames.length - 1, box.dataset.hottest, function (value) {
        frames.forEach(function (frame, place) { frame.classList.toggle("shown", place === value); });
        return frames[value].dataset.label.replace(/^Frame | of the video in column .*(?=,)/g, "");
      });
    }
    var player = box.querySelector("audio"), drawing = box.querySelector(".sound");
    if (player && drawing) {
      var head = drawing.querySelector(".playhead"), width = drawing.viewBox.baseVal.width;
      function follow() {
        if (!player.duration) { return; }
        var place = width * player.currentTime / player.duration;
        head.setAttribute("x1", place); head.setAttribute("x2", place);
        drawing.classList.add("playing");
        if (!player.paused) { requestAnimationFrame(follow); }
      }
      player.addEventListener("play", follow); player.addEventListener("seeked", follow);
      drawing.addEventListener("click", function (event) {
        var area = drawing.getBoundingClientRect();
        if (player.duration) { player.currentTime = player.duration * (event.clientX - area.left) / area.width; }
        player.play();
      });
    }
  });
})();
