// Looks at the bits of every sample that a web page can get.

const WINDOW = 2048;

class Watcher extends AudioWorkletProcessor {
  constructor() {
    super();
    this.begin();
  }

  begin() {
    this.frames = 0;
    this.samples = 0;
    this.nonzero = 0;
    this.peak = 0;
    this.last = 0;
  }

  process([input], [output]) {
    for (const channel of input) {
      this.samples += channel.length;
      const bits = new Uint32Array(channel.buffer, channel.byteOffset, channel.length);
      for (let frame = 0; frame < channel.length; frame += 1) {
        // Negative zero and NaN are not silence.
        if (bits[frame] !== 0) {
          this.nonzero += 1;
          this.last = channel[frame];
        }
        this.peak = Math.max(this.peak, Math.abs(channel[frame]));
      }
    }
    // A browser may give no channel at all instead of zeros, so time is counted by what is played.
    this.frames += output[0].length;
    if (this.frames >= WINDOW) {
      this.port.postMessage({
        frames: this.frames,
        samples: this.samples,
        nonzero: this.nonzero,
        peak: this.peak,
        last: this.last,
      });
      this.begin();
    }
    return true;
  }
}

registerProcessor("watcher", Watcher);
