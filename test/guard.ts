import { spawn } from 'node:child_process';

/**
 * A process that cleans up when this one ends without having done so, however it ends: then `script` runs to its end, a
 * POSIX shell's with the directory as `$1`. The script has to wait at the point where `read -r _ && exit` stands in it.
 */
export function startGuard(name: string, script: string, directory: string): { readonly dismiss: () => void } {
  const guard = spawn('sh', ['-c', script, name, directory], { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
  guard.stdin.on('error', () => undefined);
  guard.unref();
  // A pipe keeps the event loop alive like the child; both have to let go.
  (guard.stdin as unknown as { unref?: () => void }).unref?.();
  return { dismiss: () => void guard.stdin.end('dismissed\n') };
}
