// Lets tests outside of a Worker use D1: a POST of [[sql, values], …] is one batch, its answer
// [[row, …], …]. The path names the database.
export default {
  async fetch(request, env) {
    const database = env[new URL(request.url).pathname.slice(1)];
    if (!database) return new Response("no such database", { status: 404 });
    try {
      const batch = await request.json();
      const prepared = batch.map(([sql, values]) => database.prepare(sql).bind(...values));
      const answers = await database.batch(prepared);
      return Response.json(answers.map((one) => one.results));
    } catch (error) {
      return new Response(String(error.message), { status: 500 });
    }
  },
};
