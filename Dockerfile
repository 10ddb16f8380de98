# The image of mtls-injector: one static binary, no shell, no root.
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
# The flags of the Makefile, but for the commit, which is not known here. The same source
# gives the same bytes.
RUN CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} \
    go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X main.version=${VERSION}" -o /out/mtls-injector ./cmd/mtls-injector

FROM ${BASE_IMAGE}
ARG VERSION=dev
LABEL org.opencontainers.image.title="mtls-injector" \
      org.opencontainers.image.description="Pod-to-pod mutual TLS without a service mesh" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY LICENSE /LICENSE
COPY --from=build /out/mtls-injector /mtls-injector
# By number, so that runAsNonRoot can be checked.
USER 65532:65532
EXPOSE 9443 8081 8080
ENTRYPOINT ["/mtls-injector"]
