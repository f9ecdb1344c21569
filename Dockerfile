# Sidekey as a container. Build: docker build -t sidekey .
#
# Run it in the network namespace of the service it serves (a pod, or `network_mode: service:app`): its
# listeners are on loopback, so no port is exposed or published. The root filesystem can be read-only; only /data is written.
#   docker run --read-only --cap-drop ALL --security-opt no-new-privileges --ulimit core=0 -v sidekey-data:/data sidekey

FROM node:24.21.0-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN ["npm", "ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund"]
COPY config config
COPY src src
# The final stage has no shell to make the folder with its owner.
RUN ["install", "-d", "-m", "0700", "-o", "65532", "-g", "65532", "/data"]

# C and C++ runtime libraries, CA certificates and nothing else: no shell, no package manager. Node is the one that
# the lockfile pins, the same bytes that the tests ran on.
FROM gcr.io/distroless/cc-debian12:nonroot
WORKDIR /app
COPY --from=build /app /app
COPY --from=build --chown=65532:65532 /data /data
ENV NODE_ENV=production SIDEKEY_DATA=/data SIDEKEY_CONFIG=/app/config
USER nonroot
VOLUME ["/data"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
  CMD ["/app/node_modules/.bin/node", "--disable-sigusr1", "/app/src/cli/main.ts", "status", "--json"]
ENTRYPOINT ["/app/node_modules/.bin/node", "--disable-sigusr1", "--max-semi-space-size=16", "/app/src/cli/main.ts"]
CMD ["serve"]
