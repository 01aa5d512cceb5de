// What the manager's page makes of what it is told.

/** Who gets a stream from whom, as nested lists that start at the publisher's node. */
export function treeOf({ owner, links }) {
  const below = (node, path) => ({
    node,
    children: links
      .filter(({ from, node: child }) => from === node && !path.includes(child))
      .map(({ node: child }) => below(child, [...path, child])),
  });
  return below(owner, [owner]);
}

/** How many sessions a stream has on each node. */
export function countsOf(streams) {
  return Object.fromEntries(Object.entries(streams).map(([node, stream]) => [node, {
    publishers: stream.publish.sessions.length,
    viewers: stream.subscribe.sessions.filter(({ cascade }) => !cascade).length,
  }]));
}

export function stateOf({ status, draining }) {
  return status === 'running' && draining ? 'draining' : status;
}
