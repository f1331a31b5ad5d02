"use strict";
// Shows GET /sandbox/state once a second and turns clicks into calls of the control routes.

const STATES = { open: "conectado", connecting: "conectando", close: "desconectado" };
const RECEIPTS = { PENDING: "enviando", SERVER_ACK: "enviada", DELIVERY_ACK: "entregue", READ: "lida", DELETED: "apagada" };
const SAMPLES = {
  text: "texto", empty: "texto vazio", link: "link", reply: "resposta citada", image: "imagem", audio: "áudio", video: "vídeo",
  document: "documento", sticker: "figurinha", location: "localização", contact: "contato", buttons: "botão tocado",
  list: "item de lista", poll: "enquete", ephemeral: "texto temporário", view_once: "visualização única",
  reaction: "reação", lid: "texto, por LID", pn_lid: "texto, número e LID", group: "texto no grupo",
  own_phone: "digitado no próprio celular", no_name: "texto de quem não tem nome", edit: "editar a última",
  revoke: "apagar a última", read: "ler o que recebeu", repeat: "repetir a última", undecryptable: "ilegível",
  presence: "digitando…", call: "ligação", history: "histórico",
};
const find = (root, name) => root.querySelector(`[data-${name}]`);
const setText = (node, text) => { if (node.textContent !== text) node.textContent = text; };
const clock = (iso) => new Date(iso).toLocaleTimeString("pt-BR");

function element(tag, text, className) {
  const node = document.createElement(tag);
  node.textContent = text;
  if (className) node.className = className;
  return node;
}

function notice(text) {
  const box = find(document, "notice");
  box.hidden = !text;
  setText(box, text || "");
}

async function call(path, body, method = "POST") {
  const options = { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch(`/sandbox/${path}`, options);
  const answer = await response.json();
  notice(response.ok ? "" : `Não deu certo: ${answer.error}`);
  await refresh();
  return response.ok;
}

function newCard(name) {
  const card = document.getElementById("phone").content.firstElementChild.cloneNode(true);
  card.dataset.instance = name;
  find(card, "name").textContent = name;
  card.querySelector('[data-action="scan"]').addEventListener("click", () => call("phones/scan", { instance: name }));
  card.querySelector('form[data-action="message"]').addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = event.target;
    const { from, text, sample } = form.elements;
    const message = { instance: name, from: from.value, text: text.value, sample: sample.value, push_name: "Cliente" };
    if (await call("phones/message", message)) form.elements.text.value = "";
  });
  card.querySelector('form[data-action="drop"]').addEventListener("submit", (event) => {
    event.preventDefault();
    const form = event.target;
    const drop = { reason: Number(form.elements.reason.value), silent: form.elements.silent.checked };
    call(`instances/${encodeURIComponent(name)}/drop`, drop);
  });
  card.querySelectorAll("[data-mode]").forEach((button) => {
    const body = { mode: button.dataset.mode };
    button.addEventListener("click", () => call(`instances/${encodeURIComponent(name)}/mode`, body));
  });
  return card;
}

function hintFor(phone) {
  if (phone.state === "open" || phone.qr) return "";
  if (phone.state === "connecting") return "Conectando…";
  return phone.paired ? "A conexão caiu. O telefone continua pareado." : "Peça um novo QR code pelo seu aplicativo.";
}

function ownerOf(phone) {
  if (!phone.phone) return "sem telefone";
  const name = phone.profileName ? ` · ${phone.profileName}` : "";
  return `+${phone.phone}${name}${phone.status === phone.state ? "" : ` · no banco: ${phone.status}`}`;
}

function showSamples(select, samples) {
  if (select.options.length) return;
  select.append(...samples.map((name) => new Option(SAMPLES[name] || name, name)));
}

function showMessages(list, messages) {
  const key = messages.map((message) => message.id + message.status).join();
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...messages.map((message) => {
    const item = element("li", message.text, message.fromMe ? "mine" : "");
    const who = message.fromMe ? `para ${message.number}` : message.name || message.number;
    const receipt = message.fromMe ? ` · ${RECEIPTS[message.status] || message.status}` : "";
    item.append(element("small", `${who} · ${clock(message.at)}${receipt}`));
    return item;
  }));
  if (!messages.length) list.append(element("li", "Nenhuma mensagem ainda", "none"));
  list.scrollTop = list.scrollHeight;
}

function showPhone(card, phone, samples) {
  const badge = find(card, "state");
  badge.dataset.state = phone.state;
  setText(badge, phone.qr ? "esperando leitura" : STATES[phone.state]);
  setText(find(card, "owner"), ownerOf(phone));
  find(card, "pairing").hidden = !phone.qr;
  if (phone.qr && find(card, "qr").src !== phone.qr) find(card, "qr").src = phone.qr;
  find(card, "code").hidden = !phone.pairingCode;
  setText(find(card, "code"), phone.pairingCode || "");
  find(card, "talk").hidden = phone.state !== "open";
  find(card, "hint").hidden = !hintFor(phone);
  setText(find(card, "hint"), hintFor(phone));
  showMessages(find(card, "messages"), phone.messages);
  showSamples(find(card, "samples"), samples);
  card.querySelectorAll("[data-mode]").forEach((button) => {
    button.setAttribute("aria-pressed", String(button.dataset.mode === phone.mode));
    button.disabled = button.dataset.mode === "half_open" && phone.state !== "open";
  });
}

function showPhones(phones, samples) {
  const shelf = find(document, "phones");
  const cards = new Map([...shelf.children].map((card) => [card.dataset.instance, card]));
  for (const phone of phones) {
    const card = cards.get(phone.name) || shelf.appendChild(newCard(phone.name));
    cards.delete(phone.name);
    showPhone(card, phone, samples);
  }
  cards.forEach((card) => card.remove());
  find(document, "empty").hidden = phones.length > 0;
}

const HEALTHY = JSON.stringify({
  latency_ms: 0, error_rate: 0, status: 500, garbage: false, hang: false, license_required: null, duplicate: false,
  reorder: false, drop_events: [], seed: 0,
});

function showFaults(faults) {
  const on = JSON.stringify(faults) !== HEALTHY;
  const line = find(document, "faults-on");
  line.hidden = !on;
  const told = Object.entries(faults).filter(([name, value]) => value !== JSON.parse(HEALTHY)[name] && String(value) !== "");
  setText(line, on ? `Ligadas: ${told.map(([name, value]) => `${name} ${value}`).join(" · ")}` : "");
}

function faultsOf(form) {
  const field = form.elements;
  const answers = field.answers.value;
  const faults = {
    latency_ms: Number(field.latency_ms.value), error_rate: Number(field.error_rate.value), status: Number(field.status.value),
    duplicate: field.duplicate.checked, reorder: field.reorder.checked,
    drop_events: field.drop_events.value.split(/[\s,]+/).filter(Boolean),
  };
  if (answers === "garbage") faults.garbage = true;
  else if (answers === "html") faults.garbage = "html";
  else if (answers) faults[answers] = true;
  return faults;
}

function showLog(items) {
  find(document, "log").replaceChildren(...items.map((item) => {
    const row = document.createElement("tr");
    const what = item.kind === "webhook" ? `webhook ${item.event}` : `${item.method} ${item.path}`;
    const good = item.status !== null && item.status < 400;
    row.append(element("td", clock(item.at)), element("td", what), element("td", item.instance || "–"));
    row.append(element("td", item.attempt ? String(item.attempt) : "–"));
    row.append(element("td", item.status === null ? "sem resposta" : String(item.status), good ? "" : "bad"));
    return row;
  }));
}

async function refresh() {
  const state = await (await fetch("/sandbox/state")).json();
  setText(find(document, "version"), `Evolution API ${state.version}`);
  showPhones(state.instances, state.samples);
  showFaults(state.faults);
  showLog(state.log);
}

async function loop() {
  try {
    await refresh();
  } catch {
    notice("O servidor de testes não responde. Tentando de novo…");
  }
  setTimeout(loop, 1000);
}

document.querySelector('form[data-action="faults"]').addEventListener("submit", (event) => {
  event.preventDefault();
  call("faults", faultsOf(event.target));
});
document.querySelector('[data-action="heal"]').addEventListener("click", () => {
  document.querySelector('form[data-action="faults"]').reset();
  call("faults", {}, "DELETE");
});
document.querySelector('[data-action="reset"]').addEventListener("click", () => {
  if (confirm("Apagar todos os telefones de teste?")) call("reset", {});
});
loop();
