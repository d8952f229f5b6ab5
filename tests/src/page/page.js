// Records the default microphone as a conferencing page would, has every sample looked at, and tells the test what
// came. Each report is answered with what to do next. Asked for by "?again", it opens the microphone anew when that has
// failed or ended, or when nothing came for two seconds, as a person would by reloading the page.

const again = location.search === "?again";
const SILENT_FOR_MS = 2000;

const report = (body) =>
  fetch("/report", { method: "POST", body: JSON.stringify(body) }).then((answer) => answer.json());
const sleep = (milliseconds) => new Promise((resume) => setTimeout(resume, milliseconds));

let order = 0;
let opened = 0;

// While the audio server is away, a browser may answer nothing at all.
function inTime(promise) {
  const late = () => Promise.reject(new Error("no answer"));
  return again ? Promise.race([promise, sleep(5 * SILENT_FOR_MS).then(late)]) : promise;
}

async function record() {
  const stream = await inTime(
    navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    }),
  );
  const [track] = stream.getAudioTracks();
  const context = new AudioContext();
  await context.audioWorklet.addModule("/worklet.js");
  const watcher = new AudioWorkletNode(context, "watcher");
  let windows = [];
  let heard = performance.now();
  watcher.port.onmessage = ({ data }) => {
    windows.push({ order, ...data });
    heard = performance.now();
  };
  context.createMediaStreamSource(stream).connect(watcher);
  // A node is only run while it is connected to what is played; it plays silence.
  watcher.connect(context.destination);
  await inTime(context.resume());
  opened += 1;

  for (;;) {
    const sent = windows;
    windows = [];
    const ended = track.readyState !== "live";
    const next = await report({
      recording: {
        order,
        opened,
        windows: sent,
        rate: context.sampleRate,
        label: track.label,
        enabled: track.enabled,
        muted: track.muted,
        ended,
      },
    });
    track.enabled = next.enabled;
    order = next.order;
    if (again && (ended || performance.now() - heard > SILENT_FOR_MS)) {
      track.stop();
      await context.close();
      return;
    }
    await sleep(20);
  }
}

async function run() {
  do {
    try {
      await record();
    } catch (error) {
      if (!again) throw error;
      await sleep(100);
    }
  } while (again);
}

run().catch((error) => report({ failed: String(error) }));
