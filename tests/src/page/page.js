// Records the default microphone as a conferencing page would, has every sample looked at, and tells the test what
// came. Each report is answered with what to do next.

const report = (body) =>
  fetch("/report", { method: "POST", body: JSON.stringify(body) }).then((answer) => answer.json());

async function run() {
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  const [track] = stream.getAudioTracks();
  const context = new AudioContext();
  await context.audioWorklet.addModule("/worklet.js");
  const watcher = new AudioWorkletNode(context, "watcher");
  let windows = [];
  let order = 0;
  watcher.port.onmessage = ({ data }) => windows.push({ order, ...data });
  context.createMediaStreamSource(stream).connect(watcher);
  // A node is only run while it is connected to what is played; it plays silence.
  watcher.connect(context.destination);
  await context.resume();

  for (;;) {
    const sent = windows;
    windows = [];
    const next = await report({
      recording: {
        order,
        windows: sent,
        rate: context.sampleRate,
        label: track.label,
        enabled: track.enabled,
        muted: track.muted,
        ended: track.readyState !== "live",
      },
    });
    track.enabled = next.enabled;
    order = next.order;
    await new Promise((resume) => setTimeout(resume, 20));
  }
}

run().catch((error) => report({ failed: String(error) }));
