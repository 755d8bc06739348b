import { Refusal } from "../../errors.ts";
import {
	differingPasswords,
	essentialPasswords,
	type PasswordDigests,
} from "../../formats/ldap/passwords.ts";
import { readIfThere } from "../../services/files.ts";
import type { PeerConfig } from "../../services/peer-config.ts";
import type { LdapStatus } from "./ldap-status.ts";

/**
 * Compares the LDAP passwords in localconfig.xml of the two hosts. A copy of the directory with a
 * password that the mirror's localconfig.xml does not have would lock out every command here, replay
 * among them; so such a copy is not put in use.
 */
export class Passwords {
	readonly #config: PeerConfig;
	readonly #status: LdapStatus;
	#live: PasswordDigests | undefined;

	constructor(config: PeerConfig, status: LdapStatus) {
		this.#config = config;
		this.#status = status;
	}

	setLive(digests: PasswordDigests): void {
		this.#live = digests;
	}

	/** Reads the own file again, and publishes how the two compare; unknown stays unknown. */
	async compare(): Promise<readonly string[]> {
		const own = await readIfThere(this.#config.zimbra.localconfig).catch(() => undefined);
		if (own === undefined || this.#live === undefined) return [];
		const differing = differingPasswords(this.#live, own);
		this.#status.passwordsDiffer = differing.length > 0;
		if (differing.length > 0) this.#status.problems.report("passwords", this.#refusal(differing));
		else this.#status.problems.resolved("passwords");
		return differing;
	}

	/** Throws a {@link Refusal} where the mirror could not use a new copy. */
	async demandSame(): Promise<void> {
		const differing = await this.compare();
		if (differing.some((name) => essentialPasswords.includes(name))) {
			throw this.#refusal(differing);
		}
	}

	#refusal(names: readonly string[]): Refusal {
		const { remoteAddress, zimbra } = this.#config;
		const held = names.some((name) => essentialPasswords.includes(name))
			? "; new LDAP copies are not put in use until they are the same"
			: "";
		return new Refusal(
			"ldap-password-drift",
			`${names.join(", ")} in ${zimbra.localconfig} differ from those on ${remoteAddress}${held}`,
			`on ${remoteAddress}: zmlocalconfig -s ${names[0] ?? ""}; then here: zmlocalconfig -e NAME=VALUE for each of them`,
		);
	}
}
