type PodStatus = { readonly conditions?: readonly { readonly type: string }[]; readonly containerStatuses?: readonly object[] };

/** The status of a pod whose containers are all in this state (a `ContainerState` of the API), ready or not. Pure. */
export function withReadiness(status: object, ready: boolean, state: object): object {
  const { conditions = [], containerStatuses = [] }: PodStatus = status;
  return {
    ...status,
    conditions: conditions.map((condition) =>
      /^(Ready|ContainersReady)$/.test(condition.type) ? { ...condition, status: ready ? 'True' : 'False' } : condition,
    ),
    containerStatuses: containerStatuses.map((container) => ({ ...container, ready, started: ready, state })),
  };
}
