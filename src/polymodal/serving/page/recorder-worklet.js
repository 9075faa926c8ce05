// Runs beside the page: passes the samples of the microphone on, in pieces of a twentieth of a second.

class RecorderProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.piece = new Float32Array(Math.ceil(sampleRate / 20 / 128) * 128);
    this.length = 0;
  }

  process([input]) {
    if (!input.length) return true;
    for (let place = 0; place < input[0].length; place += 1) {
      let sum = 0;
      for (const channel of input) sum += channel[place];
      this.piece[this.length] = sum / input.length;
      this.length += 1;
    }
    if (this.length >= this.piece.length) {
      this.port.postMessage(this.piece.slice());
      this.length = 0;
    }
    return true;
  }
}

registerProcessor("recorder", RecorderProcessor);
