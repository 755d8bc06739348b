import { describe, Refusal } from "../../errors.ts";

/** Says once, at the edge, what is wrong and what to do about it. */
export function tell(error: unknown): void {
	process.stderr.write(explain(error));
}

function explain(error: unknown): string {
	if (!(error instanceof Refusal)) return `live-syncd: ${describe(error)}\n`;
	return `live-syncd: ${describe(error)}  [${error.code}]\n  try: ${error.hint}\n`;
}
