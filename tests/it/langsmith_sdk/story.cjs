// What people do with LangSmith's JavaScript SDK, told to whatever LANGSMITH_ENDPOINT names. It ends well when every
// answer is the right one. NODE_PATH says where the SDK is.

const assert = require("node:assert/strict");
const { randomUUID } = require("node:crypto");
const { Client } = require("langsmith");
const { getCurrentRunTree, traceable } = require("langsmith/traceable");

const PROJECT = "story";
const TRACES = 70;
const client = new Client();

const plan = traceable(
  async (number) => ({ plan: number, usage_metadata: { input_tokens: 2, output_tokens: 3, total_tokens: 5 } }),
  { name: "plan", run_type: "llm", client },
);

const lookUp = traceable(
  async (number) => {
    if (number % 10 === 0) throw new Error(`nothing is known of ${number}`);
    return { found: number };
  },
  { name: "look_up", run_type: "tool", client },
);

async function all(pages) {
  const found = [];
  for await (const one of pages) found.push(one);
  return found;
}

/** Trees of three runs each. The ids of their roots. */
async function trace() {
  const roots = [];
  for (let number = 0; number < TRACES; number += 1) {
    const tags = [number % 2 === 0 ? "even" : "odd"];
    const agent = traceable(
      async (input) => {
        roots.push(getCurrentRunTree().id);
        await plan(input.number);
        await lookUp(input.number).catch(() => {});
        return { answer: input.number };
      },
      { name: "agent", run_type: "chain", client, project_name: PROJECT, tags, metadata: { number } },
    );
    await agent({ number });
  }
  await client.awaitPendingTraceBatches();
  return roots;
}

async function search() {
  const runs = await all(client.listRuns({ projectName: PROJECT }));
  assert.equal(new Set(runs.map((run) => run.id)).size, 3 * TRACES);
  const count = async (narrowing) => (await all(client.listRuns({ projectName: PROJECT, ...narrowing }))).length;
  assert.equal(await count({ filter: 'eq(name, "look_up")', error: true }), 7);
  assert.equal(await count({ filter: 'eq(run_type, "llm")', traceFilter: 'has(tags, "even")' }), 35);
  assert.equal(await count({ isRoot: true, treeFilter: 'eq(status, "error")' }), 7);
  assert.equal(await count({ isRoot: true, limit: 5 }), 5);
  // All three filters, over three pages.
  const filter = 'in(name, ["agent", "plan", "look_up"])';
  const every = { filter, traceFilter: 'eq(name, "agent")', treeFilter: 'eq(run_type, "tool")' };
  const found = await all(client.listRuns({ projectName: PROJECT, ...every }));
  assert.equal(new Set(found.map((run) => run.id)).size, found.length);
  assert.equal(found.length, 3 * TRACES);
  const stats = await client.getRunStats({ projectNames: [PROJECT], isRoot: true });
  assert.deepEqual([stats.run_count, stats.total_tokens], [TRACES, 5 * TRACES]);
}

async function read(root) {
  const run = await client.readRun(root, { loadChildRuns: true });
  assert.deepEqual([run.name, run.status, run.inputs, run.outputs], ["agent", "success", { number: 0 }, { answer: 0 }]);
  assert.deepEqual(run.child_runs.map((child) => [child.name, child.status]), [["plan", "success"], ["look_up", "error"]]);
  assert.deepEqual([run.tags, run.extra.metadata.number, run.total_tokens], [["even"], 0, 5]);
}

async function write() {
  const id = randomUUID();
  await client.createRun({ id, name: "by hand", run_type: "chain", inputs: { q: 1 }, project_name: PROJECT });
  await client.updateRun(id, { outputs: { a: 2 }, end_time: Date.now() });
  await client.awaitPendingTraceBatches();
  const run = await client.readRun(id);
  assert.deepEqual([run.inputs, run.outputs, run.status], [{ q: 1 }, { a: 2 }, "success"]);
}

async function attach() {
  let id;
  const reader = traceable(
    async () => {
      id = getCurrentRunTree().id;
      return { done: true };
    },
    {
      name: "reader",
      client,
      project_name: PROJECT,
      extractAttachments: (input) => [{ note: ["text/plain", Buffer.from("a note of some bytes")] }, input],
    },
  );
  await reader({ q: 1 });
  await client.awaitPendingTraceBatches();
  const run = await client.readRun(id);
  const place = new URL(run.s3_urls["attachment.note"].presigned_url, process.env.LANGSMITH_ENDPOINT);
  assert.equal(await (await fetch(place)).text(), "a note of some bytes");
}

async function judge(root) {
  const sessionId = (await client.readRun(root)).session_id;
  const made = await client.createFeedback(root, "stars", { score: 0.5, comment: "so so", value: "fair", sessionId });
  await client.createFeedback(root, "stars", { score: 1, traceId: root, sourceInfo: { judge: "me" }, sessionId });
  const token = await client.createPresignedFeedbackToken(root, "stars", { expiration: { minutes: 5 } });
  const body = JSON.stringify({ score: 0, metadata: { page: "help" } });
  const given = await fetch(token.url, { method: "POST", headers: { "content-type": "application/json" }, body });
  assert.equal(given.status, 200);
  assert.equal((await fetch(`${token.url}?score=0.25&comment=by%20link`)).status, 200);
  await client.awaitPendingTraceBatches();
  const records = await all(client.listFeedback({ runIds: [root], feedbackKeys: ["stars"] }));
  assert.deepEqual(records.map((record) => record.score).sort(), [0, 0.25, 0.5, 1]);
  await client.updateFeedback(made.id, { score: 0.75, comment: "better" });
  assert.deepEqual(await client.readFeedback(made.id).then((one) => [one.score, one.comment]), [0.75, "better"]);
  await client.deleteFeedback(made.id);
  const { stars } = (await client.readRun(root)).feedback_stats;
  assert.equal(stars.n, 3);
  const listed = await all(client.listPresignedFeedbackTokens(root));
  assert.deepEqual(listed.map((one) => one.id), [token.id]);
}

async function projects() {
  const made = await client.createProject({ projectName: "made by hand", metadata: { team: "blue" } });
  const again = await client.createProject({ projectName: "made by hand", metadata: { team: "blue" }, upsert: true });
  assert.equal(made.id, again.id);
  const names = (await all(client.listProjects())).map((project) => project.name);
  for (const name of ["default", PROJECT, "made by hand"]) assert.ok(names.includes(name), names.join());
  const blue = await all(client.listProjects({ metadata: { team: "blue" } }));
  assert.deepEqual(blue.map((project) => project.id), [made.id]);
  const project = await client.readProject({ projectName: PROJECT, includeStats: true });
  assert.deepEqual([project.run_count, project.total_tokens], [3 * TRACES + 2, 5 * TRACES]);
  assert.equal(await client.hasProject({ projectName: "nobody's" }), false);
}

async function secondVersion(root) {
  const { id } = await client.readProject({ projectName: PROJECT });
  const selects = ["ID", "NAME", "STATUS", "TOTAL_TOKENS"];
  const asked = { project_ids: [id], is_root: true, page_size: 30, filter: 'eq(name, "agent")', selects };
  const found = await all(client.runs.queryV2({ ...asked, include_subtree_usage: true }));
  assert.equal(new Set(found.map((run) => run.id)).size, TRACES);
  assert.ok(found.every((run) => run.status === "SUCCESS" && run.total_tokens === 5));
  const run = await client.runs.retrieveV2(root, { project_id: id, selects: ["NAME", "INPUTS"] });
  assert.deepEqual([run.name, run.inputs], ["agent", { number: 0 }]);
}

async function tell() {
  const roots = await trace();
  await search();
  await read(roots[0]);
  await write();
  await attach();
  await judge(roots[0]);
  await projects();
  await secondVersion(roots[0]);
  console.log("told with", require("langsmith").__version__);
}

tell().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
