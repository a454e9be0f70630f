FROM oven/bun:1.4.5 AS build
WORKDIR /build

# Packages change less often than sources. This layer is built again only if one of these files
# changes.
COPY package.json bun.lock bunfig.toml ./
COPY patches patches
RUN bun install --frozen-lockfile

# .dockerignore lets in only the sources of the binary.
COPY . .
RUN bun run build

# A new volume gets the owner and mode of the folder that it covers, so the unprivileged Bunker can
# write to it. The folder has the secret key and the database: no other user may enter.
RUN install -d -m 0700 /image/data

# No shell and no package manager for an attacker to run. PostgreSQL needs libstdc++, which `cc`
# has.
FROM gcr.io/distroless/cc-debian12:nonroot
# The repository of the sources. The publisher of the image sets it.
ARG SOURCE=""
LABEL org.opencontainers.image.title="Bunker" \
      org.opencontainers.image.description="Accounts and sign-in for your product, in one file" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.source="${SOURCE}"

# Copied as an entry of its parent: a folder that is the destination itself would lose its mode.
COPY --from=build --chown=65532:65532 /image/ /
# Owned by root: a process of the container cannot replace it, even if the root is writable.
COPY --from=build /build/dist/bunker /bunker

# A number: Kubernetes cannot check runAsNonRoot with a name.
USER 65532:65532
ENV DATA_DIR=/data
VOLUME /data
EXPOSE 3000
# The start may migrate a large schema. Failures during this period do not count.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["/bunker", "healthcheck"]
ENTRYPOINT ["/bunker"]
CMD ["serve"]
