import { generateKeyPairSync, randomBytes, sign } from "node:crypto";

const DAY_MS = 86_400_000;

/** An element of DER (X.690), whose content is shorter than 64 KiB. */
function der(tag: number, ...parts: Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const long = length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  const size = length < 128 ? [length] : long;
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

const hex = (text: string) => Buffer.from(text, "hex");
const sequence = (...parts: Uint8Array[]) => der(0x30, ...parts);
const utcTime = (ms: number) =>
  der(0x17, Buffer.from(`${new Date(ms).toISOString().replace(/[-T:]/g, "").slice(2, 14)}Z`));

const oids = {
  ecdsaWithSha256: hex("06082a8648ce3d040302"),
  commonName: hex("0603550403"),
  subjectAltName: hex("0603551d11"),
  basicConstraints: hex("0603551d13"),
};

/** A self-signed certificate for localhost (RFC 5280), valid for a day, and its key, as PEM. */
export function certificateOfLocalhost(): { certificate: string; key: string } {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const isTrue = hex("0101ff");
  const host = Buffer.from("localhost");
  const algorithm = sequence(oids.ecdsaWithSha256);
  const name = sequence(der(0x31, sequence(oids.commonName, der(0x0c, host))));
  const extensions = sequence(
    sequence(oids.basicConstraints, isTrue, der(0x04, sequence(isTrue))),
    sequence(oids.subjectAltName, der(0x04, sequence(der(0x82, host)))),
  );
  const content = sequence(
    hex("a003020102"),
    der(0x02, hex("01"), randomBytes(8)),
    algorithm,
    name,
    sequence(utcTime(Date.now() - DAY_MS), utcTime(Date.now() + DAY_MS)),
    name,
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, extensions),
  );
  const signature = der(0x03, hex("00"), sign("sha256", content, privateKey));
  const body = sequence(content, algorithm, signature).toString("base64");
  const lines = body.replace(/.{64}/g, "$&\n").trimEnd();
  return {
    certificate: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: "pkcs8", format: "pem" }),
  };
}
