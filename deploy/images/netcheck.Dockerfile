# The bot and the worker. Build it from the root of the project:
#   docker build -f deploy/images/netcheck.Dockerfile -t registry.example.com/netcheck:0.1.0 .
FROM node:24.21.0-bookworm-slim AS packages
WORKDIR /app
COPY package.json package-lock.json ./
# The image has a Node of its own.
RUN npm install --omit=dev --no-save --ignore-scripts --no-audit --no-fund \
  && rm -rf node_modules/node-linux-* node_modules/.bin/node

FROM node:24.21.0-bookworm-slim
WORKDIR /app
COPY --from=packages /app/node_modules node_modules
COPY package.json ./
COPY src src
# Nobody: it writes nothing but what is mounted.
USER 65532:65532
# A small young generation costs a diagnosis little and an idle process much: see docs/benchmarks.md.
ENV NODE_ENV=production NODE_OPTIONS=--max-semi-space-size=2
ENTRYPOINT ["node", "/app/src/cli/main.ts"]
