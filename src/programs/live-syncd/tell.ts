import { describe, hintOf, Refusal } from "../../errors.ts";
import { onServer } from "../../services/manual.ts";

/** Says once, at the edge, what is wrong and what to do about it. */
export function tell(error: unknown): void {
	process.stderr.write(explain(error));
}

function explain(error: unknown): string {
	const code = error instanceof Refusal ? `  [${error.code}]` : "";
	const hint = hintOf(error);
	return `live-syncd: ${describe(error)}${code}\n${hint === undefined ? "" : `  try: ${onServer(hint)}\n`}`;
}
