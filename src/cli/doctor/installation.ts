import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { constants } from 'node:fs';
import { access, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Config, ENVIRONMENT, isEd25519, pemOf, type Role } from '../../config.ts';
import { messageOf } from '../../model/text.ts';
import { loadConfig } from '../settings.ts';
import { UsageError } from '../usage-error.ts';
import { failed, type Item, isFine, notChecked, quoted, warning } from './item.ts';

const OLDEST_NODE = 24;

/** Whether this version of Node can run netcheck. */
export function checkNode(version: string = process.versions.node): Item {
  return Number.parseInt(version, 10) >= OLDEST_NODE
    ? isFine(`Node ${version}`)
    : failed(
        `Node ${version} is too old`,
        `npx --yes node@${OLDEST_NODE} src/cli/main.ts doctor, or install Node ${OLDEST_NODE} or newer`,
      );
}

/**
 * The configuration for a role, null where there is none that can be used, with what is wrong with it. Where only the
 * secrets of the bot are missing, `config` is that of a worker: the rest can be looked at all the same.
 */
export function checkConfig(file: string, role: Role): { readonly config: Config | null; readonly items: readonly Item[] } {
  try {
    return { config: loadConfig(file, role), items: [isFine(`${file} can be used`), ...secretsOf(role)] };
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    const [first = '', ...problems] = error.message.split('\n');
    const items = first.startsWith('the configuration cannot be read')
      ? [failed(first, problems.join(' '))]
      : problems.map((problem) =>
          failed(
            problem,
            problem.startsWith('environment: ')
              ? 'set it in the environment of the process (deploy: its Secret)'
              : `change that line, then netcheck config --config ${file} --for ${role}`,
          ),
        );
    return { config: role === 'worker' ? null : workerConfig(file), items };
  }
}

function workerConfig(file: string): Config | null {
  try {
    return loadConfig(file, 'worker');
  } catch (error) {
    if (error instanceof UsageError) return null;
    throw error;
  }
}

/** Those that the role uses, by name. The configuration could not be read if one that it needs were missing. */
function secretsOf(role: Role): Item[] {
  const names = Object.entries(ENVIRONMENT)
    .filter(([name, { for: needed }]) => name.startsWith('NETCHECK_') && (role !== 'worker' || needed === 'optional'))
    .flatMap(([name]) => ((process.env[name] ?? '') === '' ? [] : [name]));
  return [isFine(names.length === 0 ? 'no secret is needed, and none is set' : `set in the environment: ${names.join(', ')}`)];
}

/** Whether remedies could be carried out: the two halves of the key, and the audits. */
export async function checkRemedies(config: Config, role: Role, clusters: readonly string[]): Promise<readonly Item[]> {
  const { enabled, auditFile } = config.remedies;
  if (!enabled) return [isFine('remedies are off: netcheck only diagnoses')];
  const audits = role === 'bot' || auditFile === undefined ? [] : clusters.map((name) => auditFile.replaceAll('{cluster}', name));
  return [isFine('remedies are on'), await checkKeys(config, role), ...(await Promise.all(audits.map(checkAudit)))];
}

async function checkKeys({ approvalKey, remedies: { publicKeyFile } }: Config, role: Role): Promise<Item> {
  if (publicKeyFile === undefined)
    return notChecked('the public key: remedies.publicKeyFile is not set for the bot, which does not need it');
  const given = approvalKey ?? process.env['NETCHECK_APPROVAL_KEY'] ?? '';
  let text: string;
  try {
    text = await readFile(publicKeyFile, 'utf8');
  } catch (error) {
    return failed(
      `the public key cannot be read: ${quoted(messageOf(error))}`,
      `openssl pkey -in approval.key -pubout -out ${publicKeyFile}`,
    );
  }
  if (!isEd25519(text, 'public'))
    return failed(`${publicKeyFile} is no Ed25519 public key`, `openssl pkey -in approval.key -pubout -out ${publicKeyFile}`);
  if (!isEd25519(given, 'private')) {
    return role === 'worker'
      ? isFine(`${publicKeyFile} is an Ed25519 public key; its other half is the bot's alone`)
      : notChecked(`whether ${publicKeyFile} belongs to NETCHECK_APPROVAL_KEY, which is not set here`);
  }
  const half = spki(createPublicKey(createPrivateKey(pemOf(given))));
  if (half !== spki(createPublicKey(pemOf(text)))) {
    return failed(
      `${publicKeyFile} does not belong to NETCHECK_APPROVAL_KEY: every approval would be refused`,
      `openssl pkey -in approval.key -pubout -out ${publicKeyFile}     with the private key that the bot has`,
    );
  }
  return role === 'worker'
    ? warning(
        'a worker has the private key NETCHECK_APPROVAL_KEY: it could approve by itself',
        'unset NETCHECK_APPROVAL_KEY for workers',
      )
    : isFine(`${publicKeyFile} belongs to NETCHECK_APPROVAL_KEY`);
}

function spki(key: KeyObject): string {
  return key.export({ type: 'spki', format: 'der' }).toString('base64');
}

/** Whether the audit can be written, or made where there is none yet. It is not touched. */
async function checkAudit(file: string): Promise<Item> {
  const reason = await access(file, constants.R_OK | constants.W_OK).then(
    () => null,
    (error: NodeJS.ErrnoException) => error,
  );
  if (reason === null) return isFine(`the audit ${file} can be written`);
  const folder = dirname(file);
  const fix = `mkdir -p ${folder} && chown ${process.getuid?.() ?? 'USER'}:${process.getgid?.() ?? 'GROUP'} ${folder} && chmod 700 ${folder}     on the volume of the audit`;
  if (reason.code !== 'ENOENT') return failed(`the audit cannot be written: ${quoted(reason.message)}`, fix);
  return access(folder, constants.W_OK | constants.X_OK).then(
    () => isFine(`the audit ${file} can be made; there is none yet`),
    (error: unknown) => failed(`the audit cannot be made: ${quoted(messageOf(error))}`, fix),
  );
}
