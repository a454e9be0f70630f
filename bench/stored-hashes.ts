/**
 * `bun bench/stored-hashes.ts` prints the CPU time of the most expensive stored hashes that Bunker
 * accepts, as multiples of its own default hash. Comments in src/credentials/stored-hash.ts repeat
 * them.
 */
import { readStoredHash } from "../src/credentials/stored-hash.ts";

const text = (bytes: number) => Buffer.alloc(bytes, 7).toString("base64").replace(/=+$/, "");
const argon2 = (parameters: string) => `$argon2id$v=19$${parameters}$${text(16)}$${text(32)}`;
const scrypt = (parameters: string) => `$scrypt$${parameters}$${text(16)}$${text(32)}`;
const usual = argon2("m=19456,t=2,p=1");
const expensive = {
  "argon2, most work": argon2("m=65536,t=16,p=1"),
  "argon2, most memory": argon2("m=131072,t=8,p=1"),
  "argon2, most threads": argon2("m=512,t=128,p=8"),
  "argon2, most passes": argon2("m=1024,t=1024,p=1"),
  "argon2, Django's default": argon2("m=102400,t=2,p=8"),
  "scrypt, most memory": scrypt("ln=17,r=8,p=4"),
  "scrypt, most lanes": scrypt("ln=13,r=1,p=512"),
  "bcrypt, cost 14": "$2b$14$1LcEEPi7UZqljR7ZMf61SO74ixb/p4qNJhAE6l.JtNiEBLURge87C",
  "PBKDF2, SHA-1": `pbkdf2_sha1$2000000$salt$${text(20)}`,
  "PBKDF2, SHA-256": `pbkdf2_sha256$2000000$salt$${text(32)}`,
  "PBKDF2, SHA-512": `pbkdf2_sha512$2000000$salt$${text(64)}`,
};
const ROUNDS = 3;

/** The CPU time of one verification, in milliseconds: the least of three. */
async function cost(hash: string): Promise<number> {
  const check = readStoredHash(hash);
  if (typeof check === "string") throw new Error(`${hash} ${check}`);
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const before = process.cpuUsage();
    await check(Buffer.from("a long pass phrase"));
    const { user, system } = process.cpuUsage(before);
    times.push((user + system) / 1000);
  }
  return Math.min(...times);
}

await cost(usual);
const unit = await cost(usual);
console.log(`${unit.toFixed(0).padStart(6)} ms        our own, m=19456,t=2`);
for (const [name, hash] of Object.entries(expensive)) {
  const milliseconds = await cost(hash);
  const ratio = (milliseconds / unit).toFixed(0);
  console.log(`${milliseconds.toFixed(0).padStart(6)} ms ${ratio.padStart(4)} ×  ${name}`);
}
