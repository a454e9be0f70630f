import { expect, test } from "bun:test";
import { treaty } from "@elysiajs/eden";
import { PASSWORD, world } from "./support/world.ts";

test("a client by Eden gets exact types, and responses match them", async () => {
  const { app } = await world();
  const api = treaty(app, { parseDate: false }).api.v1;
  const made = await api.auth.register.post({ email: "ada@example.com", password: PASSWORD });
  // If emails must be verified first, there is no user to return yet.
  expect(made.data && "id" in made.data && made.data.username).toBe("ada");
  const again = await api.auth.register.post({ email: "ada@example.com", password: PASSWORD });
  expect(again.error?.status === 409 && again.error.value.code).toBe("email_taken");
  const login = await api.auth.login.post({ username: "ada", password: PASSWORD });
  const headers = { authorization: `Bearer ${login.data?.access_token}` };
  const me = await api.users.me.get({ headers });
  expect(me.data?.email).toBe("ada@example.com");
  const list = await api.users.get({ headers, query: { limit: 5 } });
  expect(list.error?.status === 403 && list.error.value.code).toBe("forbidden");
});
