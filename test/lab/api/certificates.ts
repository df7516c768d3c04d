import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, sign, X509Certificate } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import ipaddr from 'ipaddr.js';

/** The PEM texts of a server certificate, its key, and the authority that signed it. */
type Certificates = { readonly ca: string; readonly cert: string; readonly key: string };

/**
 * A certificate authority and a server certificate for the given host names and addresses, valid for a year. Node can
 * sign but cannot put a certificate together, hence the few lines of DER (ITU-T X.690, RFC 5280).
 */
export function createCertificates(names: readonly string[], now: Date): Certificates {
  const authority = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const server = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const issuer = 'netcheck-lab-ca';
  const year = { from: new Date(now.getTime() - 86_400_000), to: new Date(now.getTime() + 365 * 86_400_000) };
  const ca = certificate({ issuer, subject: issuer, publicKey: authority.publicKey, signer: authority.privateKey, ...year }, [
    extension(OID.basicConstraints, true, sequence(Buffer.of(0x01, 0x01, 0xff))),
    // keyCertSign and cRLSign.
    extension(OID.keyUsage, true, element(0x03, Buffer.of(0x01, 0x06))),
  ]);
  const cert = certificate(
    { issuer, subject: 'kube-apiserver', publicKey: server.publicKey, signer: authority.privateKey, ...year },
    [
      extension(OID.basicConstraints, true, sequence()),
      extension(OID.extKeyUsage, false, sequence(oid(OID.serverAuth))),
      extension(OID.subjectAltName, false, sequence(...names.map(generalName))),
    ],
  );
  return { ca, cert, key: server.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString() };
}

/** The certificates kept in a directory, so that a server that is started again stays trusted; made when there are none. */
export function keepCertificates(directory: string, names: readonly string[], now: Date): Certificates {
  const files = { ca: join(directory, 'ca.crt'), cert: join(directory, 'server.crt'), key: join(directory, 'server.key') };
  const kept = readKept(files);
  if (kept !== null && covers(kept, names)) return kept;
  const made = createCertificates(names, now);
  mkdirSync(directory, { recursive: true });
  for (const part of ['ca', 'cert', 'key'] as const) writeFileSync(files[part], made[part], { mode: 0o600 });
  return made;
}

function readKept(files: Certificates): Certificates | null {
  try {
    return { ca: readFileSync(files.ca, 'utf8'), cert: readFileSync(files.cert, 'utf8'), key: readFileSync(files.key, 'utf8') };
  } catch {
    return null;
  }
}

function covers({ cert, key }: Certificates, names: readonly string[]): boolean {
  const certificate = new X509Certificate(cert);
  return (
    certificate.checkPrivateKey(createPrivateKey(key)) &&
    names.every((name) => (isIP(name) === 0 ? certificate.checkHost(name) : certificate.checkIP(name)) !== undefined)
  );
}

const OID = {
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  commonName: '2.5.4.3',
  basicConstraints: '2.5.29.19',
  keyUsage: '2.5.29.15',
  extKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  subjectAltName: '2.5.29.17',
} as const;

type Contents = {
  readonly issuer: string;
  readonly subject: string;
  readonly publicKey: KeyObject;
  readonly signer: KeyObject;
  readonly from: Date;
  readonly to: Date;
};

function certificate({ issuer, subject, publicKey, signer, from, to }: Contents, extensions: readonly Buffer[]): string {
  const algorithm = sequence(oid(OID.ecdsaWithSha256));
  const serial = randomBytes(16);
  // A serial number is positive and has no leading zero byte.
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  const toBeSigned = sequence(
    element(0xa0, element(0x02, Buffer.of(2))),
    element(0x02, serial),
    algorithm,
    distinguishedName(issuer),
    sequence(utcTime(from), utcTime(to)),
    distinguishedName(subject),
    publicKey.export({ format: 'der', type: 'spki' }),
    element(0xa3, sequence(...extensions)),
  );
  const signature = sign('sha256', toBeSigned, signer);
  const der = sequence(toBeSigned, algorithm, element(0x03, Buffer.of(0), signature));
  return new X509Certificate(der).toString();
}

function element(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(contents);
  if (body.length < 0x80) return Buffer.concat([Buffer.of(tag, body.length), body]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  const digits = length.subarray(length.findIndex((byte) => byte !== 0));
  return Buffer.concat([Buffer.of(tag, 0x80 | digits.length), digits, body]);
}

function sequence(...contents: readonly Uint8Array[]): Buffer {
  return element(0x30, ...contents);
}

function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const digits = [arc & 0x7f];
    for (let left = arc >> 7; left > 0; left >>= 7) digits.unshift((left & 0x7f) | 0x80);
    bytes.push(...digits);
  }
  return element(0x06, Buffer.from(bytes));
}

function distinguishedName(commonName: string): Buffer {
  return sequence(element(0x31, sequence(oid(OID.commonName), element(0x0c, Buffer.from(commonName)))));
}

function utcTime(at: Date): Buffer {
  const text = at
    .toISOString()
    .replace(/[-:T]|\.\d+/g, '')
    .slice(2);
  return element(0x17, Buffer.from(text));
}

function extension(id: string, isCritical: boolean, value: Buffer): Buffer {
  return sequence(oid(id), ...(isCritical ? [Buffer.of(0x01, 0x01, 0xff)] : []), element(0x04, value));
}

function generalName(name: string): Buffer {
  return isIP(name) === 0 ? element(0x82, Buffer.from(name)) : element(0x87, Buffer.from(ipaddr.parse(name).toByteArray()));
}
