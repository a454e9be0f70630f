/**
 * A client project: it knows the API only by the files that Bunker serves at `/client/`. That it
 * compiles is the test; each expected error is one that a client must get.
 */
import { createClient, type Event, eventsOf, type User } from "../../dist/client/bunker.js";

const api = createClient("http://localhost:3000", { headers: { "accept-language": "de" } });

// @ts-expect-error times are strings in the types, and so they are at run time
createClient("http://localhost:3000", { parseDate: true });

/** The names of the OpenAPI document name the types here, too. */
export const yearOf = (user: User): string => user.created_at.slice(0, 4);

export async function register(email: string, password: string): Promise<string> {
  const { data, error } = await api.api.v1.auth.register.post({ email, password });
  if (!error) return "id" in data ? data.id : data.detail;
  switch (error.status) {
    case 400:
      return error.value.code satisfies "malformed_request" | "unsupported_header";
    case 403:
      return error.value.code satisfies "registration_closed";
    case 409:
      switch (error.value.code) {
        case "email_taken":
          return "sign in instead";
        case "username_taken":
          return "choose another name";
        case "request_in_progress":
          return "send it again";
      }
      return error.value.code satisfies never;
    case 408:
      return error.value.code satisfies "request_timeout";
    case 413:
      return error.value.code satisfies "body_too_large";
    case 415:
      return error.value.code satisfies "unsupported_media_type";
    case 422:
      return (error.value.errors ?? []).map(({ pointer, code }) => `${pointer} ${code}`).join();
    case 429:
      return error.value.code satisfies "too_many_requests";
    case 500:
      return error.value.code satisfies "internal";
    case 503:
      return error.value.code satisfies "database_unavailable" | "busy";
  }
  return error satisfies never;
}

export async function logIn(username: string, password: string): Promise<string> {
  const { data, error } = await api.api.v1.auth.login.post({ username, password });
  if (!error) return data.access_token;
  switch (error.value.code) {
    case "invalid_credentials":
    case "account_inactive":
    case "cross_site_request":
    case "email_not_verified":
    case "invalid_request":
    case "malformed_request":
    case "unsupported_header":
    case "request_timeout":
    case "body_too_large":
    case "unsupported_media_type":
    case "too_many_requests":
    case "internal":
    case "database_unavailable":
    case "busy":
      return error.value.detail;
  }
  return error.value satisfies never;
}

export async function logInByEmail(email: string, password: string): Promise<boolean> {
  return (await api.api.v1.auth.login.post({ email, password })).error === null;
}

export async function continueSession(refreshToken: string): Promise<string> {
  const { data, error } = await api.api.v1.auth.refresh.post({ refresh_token: refreshToken });
  if (!error) return data.refresh_token;
  if (error.status === 401) return error.value.code satisfies "invalid_refresh_token";
  return error.value.detail;
}

export async function signOut(refreshToken: string): Promise<string> {
  const { error } = await api.api.v1.auth.logout.post({ refresh_token: refreshToken });
  if (error?.status === 401)
    return error.value.code satisfies "not_signed_in" | "invalid_token" | "invalid_refresh_token";
  return error ? error.value.detail : "";
}

export async function wrongNames(): Promise<void> {
  // @ts-expect-error the field is called username or email
  await api.api.v1.auth.login.post({ name: "ada@example.com", password: "" });
  // @ts-expect-error there is no such field
  await api.api.v1.auth.register.post({ email: "", password: "", is_superuser: true });
  const { data } = await api.api.v1.users.me.get();
  // @ts-expect-error a user has an email, not a mail
  void data?.mail;
  const list = await api.api.v1.users.get({ query: { limit: 10 } });
  // @ts-expect-error a limit is a number
  await api.api.v1.users.get({ query: { limit: "ten" } });
  void list.data?.[0]?.email;
}

export async function follow(signal: AbortSignal): Promise<void> {
  const types: Event["type"][] = ["user.created", "user.deleted"];
  for await (const event of eventsOf(api, { types, own: true, after: "0".repeat(32), signal }))
    console.log(event.sequence satisfies string, event.data.actor.kind);
  // @ts-expect-error there is no such type of events
  void eventsOf(api, { types: ["user.vanished"] });
  const { data, error } = await api.api.v1.events.stream.get({ query: { type: "user.created" } });
  if (error?.status === 410) return void (error.value.code satisfies "cursor_expired");
  for await (const { data: event } of data ?? []) void (event?.id satisfies string | undefined);
}
