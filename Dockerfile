FROM oven/bun:1.4.5 AS build
WORKDIR /build

# Packages change less often than sources: this layer is made again only when one of these files is another one.
COPY package.json bun.lock bunfig.toml ./
COPY patches patches
RUN bun install --frozen-lockfile

# .dockerignore lets in what the binary is made of, and nothing else.
COPY . .
RUN bun run build

# A new volume takes owner and mode of the folder that it covers, which is how an unprivileged Bunker can write there.
# Its secret key and its database lie in this folder, so nobody else may enter.
RUN install -d -m 0700 /image/data

# No shell and no package manager: whoever breaks in finds nothing to run. PostgreSQL needs libstdc++, which `cc` has.
FROM gcr.io/distroless/cc-debian12:nonroot
# Where the sources of this image are; whoever publishes it knows, so it is an argument of the build.
ARG SOURCE=""
LABEL org.opencontainers.image.title="Bunker" \
      org.opencontainers.image.description="Accounts and sign-in for your product, in one file" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.source="${SOURCE}"

# Copied as an entry of its parent, since a folder that is named as the destination would lose its mode.
COPY --from=build --chown=65532:65532 /image/ /
# Owned by root, so that a process of the container cannot replace the program even where the root is writable.
COPY --from=build /build/dist/bunker /bunker

# A number, not a name: Kubernetes cannot tell from a name that runAsNonRoot is kept.
USER 65532:65532
ENV DATA_DIR=/data
VOLUME /data
EXPOSE 3000
# The start may bring a large schema up to date, which takes as long as it takes; failures then do not count yet.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["/bunker", "healthcheck"]
ENTRYPOINT ["/bunker"]
CMD ["serve"]
