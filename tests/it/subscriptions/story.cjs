// What people do with Svix's client for Node, told to a Runhook. The receiver is in this process.
const assert = require("node:assert");
const http = require("node:http");
const { Svix, Webhook, Ordering } = require("svix");

const arrivals = [];
const waiting = [];
const server = http.createServer((request, response) => {
  let body = "";
  request.on("data", (chunk) => (body += chunk));
  request.on("end", () => {
    response.end("OK");
    arrivals.push({ path: request.url, headers: request.headers, body });
    waiting.splice(0).forEach((wake) => wake());
  });
});

async function arrived(count) {
  while (arrivals.length < count) await new Promise((wake) => waiting.push(wake));
  return arrivals.splice(0, count).sort((one, other) => one.path.localeCompare(other.path));
}

async function refused(promise, status, code) {
  await assert.rejects(promise, (error) => error.code === status && error.body.code === code);
}

async function tell() {
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const base = `http://127.0.0.1:${server.address().port}`;
  const svix = new Svix(process.env.SVIX_TEST_TOKEN, { serverUrl: process.env.SVIX_TEST_URL });
  const app = await svix.application.create({ name: "shop", uid: "node-shop", metadata: { plan: "gold" } });
  assert.equal((await svix.application.getOrCreate({ name: "x", uid: "node-shop" })).id, app.id);
  await refused(svix.application.create({ name: "x", uid: "node-shop" }), 409, "conflict");
  const schema = { type: "object", required: ["total"], properties: { total: { type: "integer" } } };
  await svix.eventType.create({ name: "node.paid", description: "paid", schemas: { 1: schema } });
  await refused(svix.eventType.create({ name: "node.paid", description: "again" }), 409, "event_type_exists");
  const types = await svix.eventType.list({ withContent: true });
  assert.deepEqual(types.data.find((one) => one.name === "node.paid").schemas, { 1: schema });
  const all = await svix.endpoint.create("node-shop", { url: `${base}/all`, uid: "all" });
  const some = await svix.endpoint.create("node-shop", { url: `${base}/some`, eventTypes: ["node.paid"], channels: ["c"] });
  assert.deepEqual(some.eventTypes, ["node.paid"]);
  await svix.endpoint.setHeaders("node-shop", "all", { headers: { "X-Node": "1" } });
  const listed = await svix.endpoint.list("node-shop", { order: Ordering.Ascending });
  assert.deepEqual(listed.data.map((one) => one.id), [all.id, some.id]);
  await assert.rejects(svix.message.create("node-shop", { eventType: "node.paid", payload: {} }), (e) => e.code === 422);
  const sent = await svix.message.create("node-shop", { eventType: "node.paid", payload: { total: 1, b: 2 }, channels: ["c"] });
  for (const { path, headers, body } of await arrived(2)) {
    const { key } = await svix.endpoint.getSecret("node-shop", path === "/all" ? all.id : some.id);
    new Webhook(key).verify(body, headers);
    assert.equal(body, '{"total":1,"b":2}');
    assert.equal(headers["x-node"], path === "/all" ? "1" : undefined);
  }
  let attempts;
  do attempts = await svix.messageAttempt.listByMsg("node-shop", sent.id);
  while (attempts.data.length < 2);
  assert.ok(attempts.data.every((one) => one.responseStatusCode === 200 && one.status === 0));
  assert.equal((await svix.messageAttempt.listByEndpoint("node-shop", "all")).data[0].msgId, sent.id);
  assert.equal((await svix.message.list("node-shop", { withContent: true })).data[0].payload.total, 1);
  await svix.messageAttempt.resend("node-shop", sent.id, "all");
  assert.equal((await arrived(1))[0].headers["webhook-id"], sent.id);
  const late = await svix.endpoint.create("node-shop", { url: `${base}/late` });
  const replay = await svix.endpoint.replayMissing("node-shop", late.id, { since: app.createdAt });
  assert.deepEqual((await arrived(1)).map((one) => [one.path, one.headers["webhook-id"]]), [["/late", sent.id]]);
  const task = await svix.backgroundTask.get(replay.id);
  assert.deepEqual([task.task, task.status, task.data], ["endpoint.replay", "finished", { messagesSent: 1 }]);
  const first = await svix.endpoint.list("node-shop", { limit: 2 });
  const second = await svix.endpoint.list("node-shop", { limit: 2, iterator: first.iterator });
  assert.deepEqual(second.data.map((one) => one.id), [late.id]);
  const back = await svix.endpoint.list("node-shop", { limit: 2, iterator: second.prevIterator });
  assert.deepEqual(back.data.map((one) => one.id), [all.id, some.id]);
  await svix.endpoint.delete("node-shop", late.id);
  const before = (await svix.endpoint.getSecret("node-shop", "all")).key;
  await svix.endpoint.rotateSecret("node-shop", "all", {});
  assert.notEqual((await svix.endpoint.getSecret("node-shop", "all")).key, before);
  assert.equal((await svix.endpoint.getStats("node-shop", some.id)).success, 1);
  await svix.endpoint.delete("node-shop", some.id);
  await refused(svix.endpoint.get("node-shop", some.id), 404, "not_found");
  await svix.application.delete("node-shop");
  await refused(new Svix("foo", { serverUrl: process.env.SVIX_TEST_URL }).application.list(), 401, "authentication_failed");
  server.close();
  console.log("told");
}

tell().catch((error) => {
  console.error(error);
  process.exit(1);
});
