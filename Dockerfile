# The image of mtls-injector: two static programs, no shell, no root. `make image` builds it
# with docker, podman or buildah; `make image-archive` makes the like without any of them.
#
#   docker build --build-arg VERSION=v1.2.3 -t mtls-injector:v1.2.3 .
#
# Pin the bases by digest where builds have to be reproduced, or take them from a mirror.
ARG BUILD_IMAGE=golang:1.26
ARG BASE_IMAGE=gcr.io/distroless/static:nonroot

# Go compiles for every platform on the builder's own.
FROM --platform=$BUILDPLATFORM ${BUILD_IMAGE} AS build
WORKDIR /src
# Modules change seldom: a layer of their own.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
ARG TARGETOS=linux
ARG TARGETARCH
# The flags of the Makefile. The commit is not known here, and a label has it. The same
# source gives the same bytes.
RUN CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} \
    go build -trimpath -ldflags "-s -w -buildid= -X main.version=${VERSION}" -o /out/ ./cmd/mtls-injector ./cmd/mtls-agent

FROM ${BASE_IMAGE}
ARG VERSION=dev
ARG REVISION=unknown
ARG SOURCE=https://example.io/mtls-injector
# RFC 3339, of the commit and not of the build, so that it can be reproduced.
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="mtls-injector" \
      org.opencontainers.image.description="Pod-to-pod mutual TLS without a service mesh" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.created="${CREATED}"
COPY LICENSE /LICENSE
COPY --from=build /out/mtls-injector /mtls-injector
# The sidecar that is injected into pods which ask for it.
COPY --from=build /out/mtls-agent /mtls-agent
# By number, so that runAsNonRoot can be checked.
USER 65532:65532
EXPOSE 9443 8081 8080
ENTRYPOINT ["/mtls-injector"]
