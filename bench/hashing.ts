/**
 * Only verifies passwords. `bun bench/hashing.ts '{"count":100,"concurrency":2}'` prints the time
 * that it took, as JSON.
 */
const { count, concurrency } = JSON.parse(Bun.argv[2] ?? "{}");
const password = "a long pass phrase";
/** As in src/credentials/password.ts. */
const hash = await Bun.password.hash(password, {
  algorithm: "argon2id",
  memoryCost: 19_456,
  timeCost: 2,
});

let started = 0;
const work = async () => {
  while (started < count) {
    started += 1;
    await Bun.password.verify(password, hash);
  }
};
const startedAt = performance.now();
const cpuBefore = process.cpuUsage();
await Promise.all(Array.from({ length: concurrency }, work));
const { user, system } = process.cpuUsage(cpuBefore);
const seconds = (performance.now() - startedAt) / 1000;
console.log(JSON.stringify({ seconds, cpuMicros: (user + system) / count }));
