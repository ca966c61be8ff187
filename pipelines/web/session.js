// Who looks: a token that came in the address's fragment, which never reaches a server's log, or was pasted.

const KEY = "execution-metrics.token";
const ORGANIZATION = "organization_id";

/** Move a token from the address into this tab's own storage. */
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!given) return;
  keepToken(given);
  history.replaceState(history.state, "", location.pathname + location.search);
}

/** Remember a token until the tab is closed. */
export function keepToken(token) {
  sessionStorage.setItem(KEY, token.trim().replace(/^Bearer\s+/i, ""));
}

/** Forget it. */
export function dropToken() {
  sessionStorage.removeItem(KEY);
}

/** The token, whose it is and when it ends; null without one. The server decides whether to believe it. */
export function session() {
  const token = sessionStorage.getItem(KEY);
  if (!token) return null;
  try {
    const claims = JSON.parse(decoded(token.split(".")[1]));
    const organization = claims[ORGANIZATION];
    if (typeof organization !== "string") return { problem: "unreadable" };
    if (claims.exp * 1000 <= Date.now()) return { problem: "expired", expiredAt: claims.exp * 1000 };
    return { token, organization };
  } catch {
    return { problem: "unreadable" };
  }
}

function decoded(part) {
  const bytes = atob(part.replaceAll("-", "+").replaceAll("_", "/"));
  return new TextDecoder().decode(Uint8Array.from(bytes, (letter) => letter.codePointAt(0)));
}
