// The page of one WhatsApp: what the socket and the API say, as one state, drawn anew with every change.
import { live } from "./live.js";

const texts = JSON.parse(document.getElementById("texts").textContent);
const at = (id) => document.getElementById(id);
const state = { status: null, phone: null, qr: null, expiresAt: null, problem: null, busy: false, live: null, heard: 0 };

const reduce = {
  snapshot: (data) => ({ status: data.status, phone: data.phoneNumber, qr: data.qrCode, expiresAt: data.expiresAt }),
  status: (data) => ({ status: data.status }),
  qrcode: (data) => ({ status: "qr_pending", qr: data.qrCode, expiresAt: data.expiresAt, problem: null }),
  connected: (data) => ({ status: "connected", phone: data.phoneNumber, qr: null, problem: null }),
  disconnected: (data) => ({ qr: null, problem: texts[data.reason] || texts.connection_lost }),
};

function change(part) {
  Object.assign(state, part);
  draw();
}

function draw() {
  const { status, qr } = state;
  at("status").textContent = texts[status] || "…";
  at("status").dataset.status = status || "";
  at("live").textContent = texts[state.live] ?? texts.connecting;
  at("live").dataset.live = { live: "yes", polling: "slow" }[state.live] ?? "no";
  show("phone", status === "connected" && state.phone, phoneText(state.phone));
  show("invitation", status === "disconnected" && !state.problem);
  if (at("toy")) show("toy", status === "connected");
  show("problem", state.problem && status !== "connected", state.problem);
  show("qr-box", status === "qr_pending" || (status === "connecting" && state.busy));
  show("qr", qr && secondsLeft() > 0);
  if (qr) at("qr").src = qr;
  show("connect", status && status !== "connected" && !(status === "qr_pending" && qr && secondsLeft() > 0));
  at("connect").disabled = state.busy;
  at("countdown").textContent = countdown();
}

function show(id, visible, text) {
  at(id).hidden = !visible;
  if (text !== undefined) at(id).textContent = text || "";
}

// +55 11 99999-0001 where it is a Brazilian number, else as it comes; a group or an alias is no number.
function phoneText(number) {
  const [, area, first, last] = /^55(\d\d)(\d{4,5})(\d{4})$/.exec(number) || [];
  if (area) return `+55 ${area} ${first}-${last}`;
  return /^\d+$/.test(number) ? `+${number}` : number || "";
}

function secondsLeft() {
  return state.expiresAt ? Math.ceil((new Date(state.expiresAt) - Date.now()) / 1000) : 0;
}

function countdown() {
  if (!state.qr) return texts.waiting;
  return secondsLeft() > 0 ? texts.expires.replace("{seconds}", secondsLeft()) : texts.expired;
}

async function ask(path, options = {}) {
  const headers = { "X-CSRFToken": document.querySelector('meta[name="csrf-token"]').content };
  const answer = await fetch(path, { ...options, headers });
  if (answer.status === 401) location.assign("/login");
  const body = await answer.json();
  if (!answer.ok) throw new Error(texts[body.code] || texts.failed);
  return body;
}

async function connect() {
  change({ busy: true, problem: null });
  const heard = state.heard;
  try {
    const body = await ask("/api/whatsapp/connect", { method: "POST" });
    if (heard !== state.heard) return; // the socket was faster and knows more: somebody may even have scanned
    change({ status: body.status });
    if (body.qrCode) change({ qr: body.qrCode, expiresAt: body.expiresAt });
  } catch (error) {
    change({ problem: error instanceof TypeError ? texts.failed : error.message });  // TypeError: the network's
  } finally {
    change({ busy: false });
  }
}

// Newest first, wherever they come from; of two in one second the later comer stands above.
function addMessage(message) {
  if (document.querySelector(`[data-message="${CSS.escape(message.messageId)}"]`)) return;
  const item = document.createElement("li");
  item.dataset.message = message.messageId;
  const from = document.createElement("span");
  from.className = "from";
  from.textContent = message.fromMe ? texts.you : message.contactName || phoneText(message.from || message.phoneNumber);
  const time = document.createElement("time");
  time.dateTime = message.at;
  time.textContent = new Date(message.at).toLocaleString(document.documentElement.lang, { timeStyle: "short", dateStyle: "short" });
  const text = document.createElement("p");
  text.textContent = message.text;
  const reactions = document.createElement("span");
  reactions.className = "reactions";
  item.append(from, time, text, reactions);
  item.dataset.at = message.at;
  item.toggleAttribute("data-deleted", Boolean(message.deleted));
  for (const { author, emoji } of message.reactions || []) react(item, author, emoji);
  const below = [...at("messages").children].find((other) => other.dataset.at <= message.at);
  at("messages").insertBefore(item, below || null);
  at("no-messages").hidden = true;
}

// One emoji a person; "" takes it back.
function react(item, author, emoji) {
  const place = item.querySelector(".reactions");
  place.querySelector(`[data-author="${CSS.escape(author)}"]`)?.remove();
  if (!emoji) return;
  const mark = document.createElement("span");
  mark.dataset.author = author;
  mark.textContent = emoji;
  place.append(mark);
}

// What came of a message later; a deleted one keeps its text, struck out.
function changeMessage({ messageId, change, text, author, emoji }) {
  const item = document.querySelector(`[data-message="${CSS.escape(messageId)}"]`);
  if (!item) return;
  if (change === "edited") item.querySelector("p").textContent = text;
  if (change === "deleted") item.toggleAttribute("data-deleted", true);
  if (change === "reaction") react(item, author, emoji);
}

// Tried until it succeeds: a socket that comes back brings no snapshot, and nobody else asks for it.
let loadAgain = null;

async function loadMessages(wait = 1000) {
  clearTimeout(loadAgain);
  try {
    const page = await ask("/api/messages?limit=50");
    page.items.reverse().forEach(addMessage);
    at("no-messages").hidden = at("messages").childElementCount > 0;
  } catch {
    clearTimeout(loadAgain); // of another one that failed meanwhile
    loadAgain = setTimeout(loadMessages, wait, Math.min(wait * 2, 30000));
  }
}

async function loadQueue() {
  const stats = await ask("/api/admin/queue-stats").catch(() => ({}));
  document.querySelectorAll("[data-queue]").forEach((place) => (place.textContent = stats[place.dataset.queue] ?? "–"));
}

live((frame) => {
  if (frame.type === "message") addMessage(frame.data);
  else if (frame.type === "message_changed") changeMessage(frame.data);
  else if (reduce[frame.type]) change({ ...reduce[frame.type](frame.data), heard: state.heard + 1 });
  if (frame.type === "reset") at("messages").replaceChildren(); // the snapshot that follows fills it
  if (frame.type === "snapshot") loadMessages();
}, (how) => change({ live: how }));
at("connect").addEventListener("click", connect);
setInterval(draw, 500);
if (at("queue")) {
  loadQueue();
  setInterval(loadQueue, 5000);
}
