(function () {
  "use strict";
  var reach = 26, tip = document.createElement("div");
  tip.className = "tip"; tip.hidden = true; document.body.appendChild(tip);
  document.querySelectorAll("svg.chart, svg.whiskers, svg.over").forEach(function (chart) {
    var marks = Array.from(chart.querySelectorAll("title"), function (title) {
      var mark = title.parentNode;
      mark.dataset.tip = title.textContent;
      title.remove();
      return mark;
    });
    if (!marks.length) { return; }
    var marked = null;
    function leave() { tip.hidden = true; if (marked) { marked.classList.remove("near"); marked = null; } }
    function distance(mark, x, y) {
      var box = mark.getBoundingClientRect();
      return Math.hypot(Math.max(box.left - x, 0, x - box.right), Math.max(box.top - y, 0, y - box.bottom));
    }
    function point(event) {
      var x = event.clientX, y = event.clientY, best = reach, found = null;
      marks.forEach(function (mark) {
        var away = distance(mark, x, y);
        if (away < best) { best = away; found = mark; }
      });
      if (!found) { leave(); return; }
      if (marked && marked !== found) { marked.classList.remove("near"); }
      marked = found; marked.classList.add("near");
      tip.textContent = found.dataset.tip; tip.hidden = false;
      var box = found.getBoundingClientRect(), width = tip.offsetWidth, height = tip.offsetHeight;
      var left = Math.min(Math.max(box.left + box.width / 2 - width / 2, 6), window.innerWidth - width - 6);
      var above = box.top - height - 8;
      tip.style.left = left + "px";
      tip.style.top = (above > 4 ? above : box.bottom + 8) + "px";
    }
    chart.addEventListener("pointermove", point);
    chart.addEventListener("pointerdown", point);
    chart.addEventListener("pointerleave", leave);
  });
})();
