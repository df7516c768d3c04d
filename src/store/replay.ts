import type { Redis } from 'ioredis';
import { botKeys, KEEP } from './keys.ts';

/** Remembers a request's signature for ten minutes; returns whether it is the first time that it is seen. */
export async function isFirstSeen(redis: Redis, signature: string): Promise<boolean> {
  return (await redis.set(botKeys.replay(signature), '1', 'EX', KEEP.signature, 'NX')) === 'OK';
}
