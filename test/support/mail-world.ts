import { answerLinkRequests } from "../../src/modules/emails/requests.ts";
import { listMails, readMail } from "../../src/modules/mail/mail.ts";
import { PASSWORD, world } from "./world.ts";

/** A password that no user has yet. */
export const NEW = "a stable full of correct horses";

/** A world whose mails can be read. */
export async function mailWorld(settings: Parameters<typeof world>[0] = {}) {
  const here = await world({ rateLimit: "off", ...settings });
  const { ctx, anonymous, send } = here;
  /** Answers mail requests, then returns all mails as `kind email`, the latest first. */
  const mails = async (): Promise<string[]> => {
    while ((await answerLinkRequests(ctx)) > 0);
    return (await listMails(ctx)).map(({ kind, recipient }) => `${kind} ${recipient}`);
  };
  /** The mails of one kind to an email, the latest first. */
  const textsFor = async (email: string, kind: string): Promise<string[]> => {
    await mails();
    const theirs = (await listMails(ctx)).filter(
      (mail) => mail.recipient === email && mail.kind === kind,
    );
    const found = await Promise.all(theirs.map(({ id }) => readMail(ctx, id)));
    return found.map(({ rendered }) => rendered.text);
  };
  const tokensFor = async (email: string, kind: string): Promise<string[]> =>
    (await textsFor(email, kind)).map((text) => /token=(ot_[\w-]+)/.exec(text)?.[1] ?? "");
  const tokenFor = async (email: string, kind: string) => (await tokensFor(email, kind))[0] ?? "";
  const codeFor = async (email: string) =>
    /^(\d{6})$/m.exec((await textsFor(email, "sign_in"))[0] ?? "")?.[1] ?? "";
  const forgot = (email: string) => anonymous.post("/auth/password/forgot", { email });
  const reset = (token: string, password = NEW) =>
    anonymous.post("/auth/password/reset", { token, password });
  const verify = (body: object, token = "") =>
    send("POST", "/api/v1/auth/email/verify", {
      headers: {
        "content-type": "application/json",
        ...(token ? { authorization: `Bearer ${token}` } : {}),
      },
      body: JSON.stringify(body),
    });
  /** A user with a verified email. */
  const verifiedUser = async (email = "ada@example.com") => {
    const one = await here.newUser(email);
    const token = await tokenFor(email, "verify_email");
    await verify({ token, password: PASSWORD });
    return one;
  };
  const logIn = async (password: string, username = "ada") =>
    (await anonymous.post("/auth/login", { username, password })).status;
  const form = (path: string, fields: Record<string, string>, headers = {}) =>
    send("POST", path, {
      headers: { "content-type": "application/x-www-form-urlencoded", ...headers },
      body: new URLSearchParams(fields).toString(),
    });
  return {
    ...here,
    mails,
    textsFor,
    tokensFor,
    tokenFor,
    codeFor,
    forgot,
    reset,
    verify,
    logIn,
    form,
    verifiedUser,
  };
}

/** A world in which emails must be verified before the first sign-in. */
export async function verifyingWorld(settings: Parameters<typeof mailWorld>[0] = {}) {
  const here = await mailWorld({ requireEmailVerification: "on", ...settings });
  const register = (email: string, more: object = {}) =>
    here.anonymous.post("/auth/register", { email, password: PASSWORD, ...more });
  return { ...here, register };
}
