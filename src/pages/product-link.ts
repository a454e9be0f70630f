import type { Config } from "../config/config.ts";
import { escaped } from "../kit/html.ts";
import type { Texts } from "./texts.ts";

/** A link to the product for the end of a flow. Empty if no setting names the product. */
export function openProductLink(config: Config): (texts: Texts) => string {
  const { verifyEmailUrl, resetPasswordUrl, signInUrl } = config;
  const [redirect] = [verifyEmailUrl, resetPasswordUrl, signInUrl].filter((url) => url);
  const product = config.productUrl ?? (redirect && new URL(redirect).origin);
  if (!product) return () => "";
  return (texts) => {
    const text = texts.continue.replace("{brand}", () => config.brandName);
    return `<p><a href="${escaped(product)}">${escaped(text)}</a></p>`;
  };
}
