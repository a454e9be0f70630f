/** A client of the API of a server: registers users, and sends requests as them. */
const PASSWORD = "correct horse battery staple";
const json = { "content-type": "application/json" };

export interface Answer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: a test reads what it expects
  body: any;
  headers: Headers;
}

export function clientOf(url: string) {
  const send = async (route: string, init: RequestInit): Promise<Answer> => {
    const [method = "", path = ""] = route.split(" ");
    const response = await fetch(`${url}${path}`, { method, ...init });
    const text = await response.text();
    const { status, headers } = response;
    return { status, headers, body: text === "" ? undefined : JSON.parse(text) };
  };
  const as = (token?: string) => {
    const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
    return (route: string, body?: unknown, headers: Record<string, string> = {}) =>
      send(route, {
        headers: { ...authorization, ...(body === undefined ? {} : json), ...headers },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
  };
  const anonymous = as();
  const signIn = async (email: string) => {
    const login = { username: email, password: PASSWORD };
    const { body } = await anonymous("POST /api/v1/auth/login", login);
    return as(body.access_token);
  };
  const register = async (email: string) => {
    const { body } = await anonymous("POST /api/v1/auth/register", {
      email,
      password: PASSWORD,
    });
    return { id: String(body.id), send: await signIn(email) };
  };
  return { anonymous, register, signIn };
}
export type Client = ReturnType<typeof clientOf>;
export type Send = Client["anonymous"];
