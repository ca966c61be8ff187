// Questions to the API about one organization, and its answers or why there is none.

// A list that is longer is cut, and the panel says so.
export const MOST_PAGES = 5;
export const PAGE = 1000;

/** Why a question was not answered, in words. */
export class Failure extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** What one bearer of a token asks about its organization. */
export class Api {
  constructor({ token, organization }) {
    this.authorization = `Bearer ${token}`;
    this.base = `v1/organizations/${encodeURIComponent(organization)}`;
  }

  /** What the figures mean, and which combinations are stored. */
  definitions(signal) {
    return this.#json("v1/definitions", signal);
  }

  /** One answer. */
  ask(question, parameters, signal) {
    return this.#json(this.#address(question, parameters), signal);
  }

  /** The lines of an answer's pages, at most `MOST_PAGES`, and whether that is all of them. */
  async all(question, lines, parameters, signal) {
    const found = [];
    let after = null;
    for (let page = 0; page < MOST_PAGES; page += 1) {
      const answer = await this.ask(question, { ...parameters, limit: PAGE, after }, signal);
      found.push(...answer[lines]);
      after = answer.next;
      if (after === null) return { lines: found, isAll: true };
    }
    return { lines: found, isAll: false };
  }

  /** Every page as one CSV text with one header. */
  async csv(question, parameters) {
    let address = this.#address(question, { ...parameters, limit: PAGE, format: "csv" });
    const path = address.split("?")[0];
    let text = "";
    while (address) {
      const response = await this.#response(address);
      const part = await response.text();
      text += text ? part.slice(part.indexOf("\n") + 1) : part;
      const following = /<(\?[^>]*)>; rel="next"/.exec(response.headers.get("Link") ?? "");
      address = following ? path + following[1] : null;
    }
    return text;
  }

  #address(question, parameters) {
    const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined);
    const query = new URLSearchParams(given.map(([name, value]) => [name, written(value)]));
    return `${this.base}/${question}?${query}`;
  }

  async #json(address, signal) {
    const response = await this.#response(address, signal);
    return response.json();
  }

  async #response(address, signal) {
    let response;
    try {
      response = await fetch(address, { headers: { Authorization: this.authorization }, signal });
    } catch (failure) {
      if (failure.name === "AbortError") throw failure;
      throw new Failure(0, "The server could not be reached. It may be restarting, or the network is down.");
    }
    if (response.ok) return response;
    throw new Failure(response.status, await detailOf(response));
  }
}

async function detailOf(response) {
  try {
    const problem = await response.json();
    if (problem.detail) return problem.detail;
  } catch {
    // What is no problem in JSON comes from something in between, and has no words for us.
  }
  return `The server answered with status ${response.status}.`;
}

function written(value) {
  return value instanceof Date ? value.toISOString() : String(value);
}
