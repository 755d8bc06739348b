import { type LdapMark, sameData } from "../../formats/ldap/mark.ts";
import type { Coverage, LdapLook } from "../../formats/ldap/wire.ts";
import {
	comparePositions,
	formatPosition,
	type Position,
	sameLog,
} from "../../formats/redolog/position.ts";
import type { LdapSnapshot, LdapState } from "../../formats/state.ts";
import { type Moment, now } from "../../services/clock.ts";
import type { Logger } from "../../services/log/logger.ts";
import { Problems } from "../problems.ts";

/** All that the LDAP loop knows of itself, kept by its parts and published as one state. */
export class LdapStatus {
	readonly problems: Problems<"link" | "copy" | "passwords" | "service" | "shell">;
	readonly #peer: string;
	readonly #log: Logger;
	#phase: LdapState["phase"] = "connecting";
	#changeSeen: LdapState["changeSeen"];
	#changedTo: LdapMark | undefined;
	#heardAt: Moment | undefined;
	#liveEnd: Position | undefined;
	#liveClock: number | undefined;
	#staged: LdapSnapshot | undefined;
	#installed: LdapSnapshot | undefined;
	#coverage: Coverage | undefined;
	#coverageAt: Moment | undefined;
	#rounds = 0;
	#lastRound: LdapState["lastRound"];
	passwordsDiffer: boolean | undefined;

	constructor(peer: string, log: Logger) {
		this.#peer = peer;
		this.#log = log;
		this.problems = new Problems(log);
	}

	get installed(): LdapSnapshot | undefined {
		return this.#installed;
	}

	setPhase(phase: LdapState["phase"]): void {
		if (phase === this.#phase) return;
		this.#phase = phase;
		this.#log.debug(phase);
	}

	/** The copy found in use; undefined where what is in use is none, or was written to here. */
	setInstalled(snapshot: LdapSnapshot | undefined): void {
		// What the one before covered says nothing of another one, which may be older.
		if (snapshot?.id !== this.#installed?.id) this.#coverage = undefined;
		this.#use(snapshot);
	}

	#use(snapshot: LdapSnapshot | undefined): void {
		this.#installed = snapshot;
		this.#extend(snapshot?.coverage);
	}

	setStaged(snapshot: LdapSnapshot): void {
		this.#staged = snapshot;
	}

	roundDone(snapshot: LdapSnapshot, round: NonNullable<LdapState["lastRound"]>): void {
		this.#rounds += 1;
		this.#lastRound = round;
		this.#use(snapshot);
		const coverage = snapshot.coverage && formatPosition(snapshot.coverage);
		const { entries, transactionIds } = snapshot;
		this.#log.info({ ...round, entries, transactionIds, coverage }, "LDAP copy in use");
	}

	/** What the live directory is now; an unchanged one moves the coverage on. */
	heard(look: LdapLook): void {
		this.#heardAt = now();
		this.#liveEnd = look.coverage;
		this.#liveClock = look.clock;
		if (this.#changedTo === undefined || !sameData(this.#changedTo, look)) {
			this.#changedTo = look;
			this.#changeSeen = { transactionIds: look.transactionIds, at: look.clock };
		}
		const { coverage } = look;
		if (coverage !== undefined && this.#isCut(coverage)) this.#coverage = undefined;
		if (this.#installed === undefined || !sameData(this.#installed, look)) return;
		this.#extend(coverage);
		this.#coverageAt = this.#heardAt;
	}

	snapshot(): LdapState {
		return {
			version: 1,
			pid: process.pid,
			at: now(),
			phase: this.#phase,
			peer: this.#peer,
			changeSeen: this.#changeSeen,
			heardAt: this.#heardAt,
			liveEnd: this.#liveEnd && {
				sequence: this.#liveEnd.sequence,
				offset: this.#liveEnd.offset,
			},
			liveClock: this.#liveClock,
			staged: this.#staged,
			installed: this.#installed,
			coverage: this.#coverage,
			coverageAt: this.#coverageAt,
			passwordsDiffer: this.passwordsDiffer,
			rounds: this.#rounds,
			lastRound: this.#lastRound,
			problems: this.problems.list(),
		};
	}

	/**
	 * The live log stands lower than it stood: a crash there took its end, and what comes in that place
	 * came after the copy. Nobody here knows from where on, so that nothing is covered until a look, or
	 * another copy, tells anew.
	 */
	#isCut(now: Coverage): boolean {
		const known = this.#coverage;
		return known !== undefined && sameLog(known, now) && now.offset < known.offset;
	}

	/** Never moves back within one history; another one begins anew. */
	#extend(coverage: Coverage | undefined): void {
		if (coverage === undefined) return;
		const known = this.#coverage;
		const sameHistory =
			known?.serverId === coverage.serverId && known.timeline === coverage.timeline;
		if (!sameHistory || comparePositions(coverage, known) > 0) this.#coverage = coverage;
	}
}
