FROM oven/bun:1.4.5 AS build
WORKDIR /build

# Packages change less often than sources: this layer is built again only when the lockfile is another one.
COPY package.json bun.lock ./
RUN bun install --frozen-lockfile

# .dockerignore lets in what the binary is made of, and nothing else.
COPY . .
RUN bun run build

# A volume that is new takes the owner and mode of the folder below it, which is how an unprivileged Bunker can write
# there. Bunker keeps its secret key in this folder, so nobody else may enter.
RUN install -d -m 0700 /image/data

# No shell and no package manager: whoever breaks in finds nothing to run but Bunker. It needs glibc and libstdc++.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="Bunker" \
      org.opencontainers.image.description="Accounts and sign-in for your product, in one file" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.source="https://github.com/bunker/bunker"

COPY --from=build --chown=65532:65532 /image/data /data
COPY --from=build /build/dist/bunker /bunker

# As a number, since Kubernetes' runAsNonRoot does not believe in names.
USER 65532:65532
ENV DATA_DIR=/data
VOLUME /data
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["/bunker", "healthcheck"]
ENTRYPOINT ["/bunker"]
CMD ["serve"]
