// Recording from the microphone to a WAV file, which every server can decode.
import { encodeWav } from "./sound.js";

/** Why nothing can be recorded here, as the key of a message; null where it can. */
export function recordingObstacle() {
  if (!isSecureContext) return "record.insecure";
  if (!navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) return "record.unable";
  return null;
}

/** One recording: `start`, then `stop`. */
export class Recorder {
  #chunks = [];
  #numSamples = 0;

  /** Begin; `heard({level, seconds})` is called several times a second. Rejects where the microphone is refused. */
  async start(heard) {
    this.stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
    this.context = new AudioContext();
    await this.context.audioWorklet.addModule(new URL("./recorder-worklet.js", import.meta.url));
    const source = this.context.createMediaStreamSource(this.stream);
    this.node = new AudioWorkletNode(this.context, "recorder", { numberOfOutputs: 0 });
    this.node.port.onmessage = ({ data }) => {
      this.#chunks.push(data);
      this.#numSamples += data.length;
      heard({ level: loudness(data), seconds: this.#numSamples / this.context.sampleRate });
    };
    source.connect(this.node);
  }

  /** End; returns a WAV file, or null where nothing was heard. */
  async stop() {
    if (!this.context) return null;
    for (const track of this.stream.getTracks()) track.stop();
    this.node.disconnect();
    const rate = this.context.sampleRate;
    await this.context.close();
    return this.#numSamples ? encodeWav(this.#chunks, rate) : null;
  }
}

function loudness(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return Math.sqrt(sum / samples.length);
}
