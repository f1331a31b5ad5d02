// What happens, live: one socket to /ws that comes back by itself and asks for what it missed. Where no socket gets
// through, it asks /api/events instead and goes on trying. `onState` is told: live, polling or offline.
const SLOWEST = 30000;
const POLL_AGAIN = 5000;
const BEAT = 20000; // the server's own pings are hidden from pages; twice without a word, and the path is dead

export function live(onFrame, onState) {
  let last = null;
  let wait = 500;
  let failures = 0;
  let polling = null; // the controller of the request that is under way

  function take(frame) {
    if (frame.type === "reset") last = null;
    else if (frame.type === "snapshot" || (frame.id !== undefined && (last === null || frame.id > last))) last = frame.id;
    else if (frame.id !== undefined) return; // came on the other way already
    onFrame(frame);
  }

  function open() {
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
    let quiet = 0; // beats
    const say = (frame) => socket.send(JSON.stringify(frame));
    const cut = () => lost({ code: 0, reason: "" }); // a path without a network, or a dead one, answers no closing
    const beat = setInterval(() => {
      quiet += 1;
      if (quiet === 2) cut();
      else if (socket.readyState === WebSocket.OPEN) say({ type: "ping" });
    }, BEAT);

    function lost({ code, reason }) {
      clearInterval(beat);
      removeEventListener("offline", cut);
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
      if (code === 4401) return location.assign("/login");
      failures += 1;
      if (!polling) onState("offline");
      if (failures > 1 && !polling) poll();
      const told = Number(/retry_after_ms=(\d+)/.exec(reason)?.[1] || 0);
      setTimeout(open, told + wait * (0.5 + Math.random()));
      wait = Math.min(wait * 2, SLOWEST);
    }

    // Open alone says little: one socket too many is closed at once. So it counts from the first frame on, and the ping
    // brings one where nothing was missed.
    socket.onopen = () => {
      say({ type: "subscribe", since: last });
      say({ type: "ping" });
    };
    let isHeard = false;
    socket.onmessage = (message) => {
      quiet = 0;
      if (!isHeard) heard();
      isHeard = true;
      const frame = JSON.parse(message.data);
      if (frame.type !== "pong") take(frame);
    };
    socket.onclose = lost;
    addEventListener("offline", cut);
  }

  function heard() {
    wait = 500;
    failures = 0;
    polling?.abort();
    onState("live");
  }

  async function poll() {
    polling = new AbortController();
    while (failures > 0) {
      try {
        const since = last === null ? "" : `since=${last}&`;
        const answer = await fetch(`/api/events?${since}wait=20`, { signal: polling.signal });
        if (answer.status === 401) return location.assign("/login");
        if (!answer.ok) throw new Error(answer.status);
        const { reset, snapshot, events, id } = await answer.json();
        onState("polling");
        if (reset) take({ type: "reset" });
        if (snapshot) take({ type: "snapshot", data: snapshot, id });
        events.forEach(take);
      } catch {
        if (failures > 0) onState("offline");
        if (failures > 0) await new Promise((done) => setTimeout(done, POLL_AGAIN));
      }
    }
    polling = null;
  }

  open();
}
