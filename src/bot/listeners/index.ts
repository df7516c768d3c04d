import type { Commands, GuardedButton, GuardedModal } from '../listen.ts';
import { approve, approveOwn, glass, glassReason } from './approve.ts';
import { cancel } from './cancel.ts';
import { cluster } from './cluster.ts';
import { deny, denyReason } from './deny.ts';
import { details } from './details.ts';
import { digest } from './digest.ts';
import { digestList } from './digest-list.ts';
import { digestRemove } from './digest-remove.ts';
import { digestRun } from './digest-run.ts';
import { help } from './help.ts';
import { history, historyPage } from './history.ts';
import { node } from './node.ts';
import { pod } from './pod.ts';
import { policy } from './policy.ts';
import { request } from './request.ts';
import { dropDigest, saveDigest } from './save-digest.ts';
import { status } from './status.ts';
import { undo } from './undo.ts';

/** Everything that Slack can start here. A test asks each of them as everybody. */
export const LISTENERS: {
  readonly commands: Commands;
  readonly buttons: readonly GuardedButton[];
  readonly modals: readonly GuardedModal[];
} = {
  commands: {
    cluster,
    node,
    pod,
    status,
    digest,
    'digest-list': digestList,
    'digest-run': digestRun,
    'digest-remove': digestRemove,
    history,
    policy,
    help,
  },
  buttons: [cancel, request, approve, deny, glass, undo, details, saveDigest, dropDigest, historyPage],
  modals: [approveOwn, denyReason, glassReason],
};
