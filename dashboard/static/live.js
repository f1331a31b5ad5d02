// One socket to /ws: subscribes, hands every event on, comes back by itself and asks for what it missed.
const SLOWEST = 30000;

export function live(onFrame, onLive) {
  let last = null;
  let wait = 500;

  function open() {
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
    socket.onopen = () => socket.send(JSON.stringify({ type: "subscribe", since: last }));
    socket.onmessage = (message) => {
      const frame = JSON.parse(message.data);
      wait = 500;
      onLive(true);
      if (frame.type === "reset") last = null;
      else if (frame.id !== undefined) last = frame.id;
      onFrame(frame);
    };
    socket.onclose = () => {
      onLive(false);
      setTimeout(open, wait * (0.5 + Math.random()));
      wait = Math.min(wait * 2, SLOWEST);
    };
  }
  open();
}
