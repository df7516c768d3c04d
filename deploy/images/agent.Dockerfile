# What runs on the nodes. Build both from the root of the project; only the second can change anything:
#   docker build -f deploy/images/agent.Dockerfile --target agent -t registry.example.com/netcheck-agent:0.1.0 .
#   docker build -f deploy/images/agent.Dockerfile --target remedy -t registry.example.com/netcheck-agent-remedy:0.1.0 .
FROM node:24.21.0-bookworm-slim AS bundle
WORKDIR /build
COPY package.json package-lock.json ./
RUN npm install --no-save --ignore-scripts --no-audit --no-fund
COPY scripts/build-agent.ts scripts/
COPY src src
RUN node scripts/build-agent.ts /out

FROM debian:bookworm-slim AS agent
# Exactly the tools that the agent starts; a test compares this with the catalogue.
RUN apt-get update \
  && apt-get install -y --no-install-recommends \
  conntrack ethtool fping iproute2 iptables iputils-arping nftables procps socat util-linux \
  && rm -rf /var/lib/apt/lists/*
COPY --from=bundle /usr/local/bin/node /usr/local/bin/node
COPY --from=bundle /out/netcheck-agent.cjs /opt/netcheck/
COPY --chmod=755 deploy/images/netcheck-agent /usr/local/bin/
# Sleeps until `netcheck-agent collect` is started in it.
CMD ["sleep", "infinity"]

FROM agent AS remedy
COPY --from=bundle /out/netcheck-remedy.cjs /opt/netcheck/
