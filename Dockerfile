# sae-lens-ts for a GPU cloud:  docker build -t sae-lens-ts .
#   docker run --gpus all -v "$PWD:/work" -v sae-lens-ts-cache:/cache sae-lens-ts train config.yaml
# A small image for CPUs:       docker build --build-arg TORCH=cpu --build-arg BASE=docker.io/library/ubuntu:24.04 .
# The torch wheel carries its own CUDA libraries; the base brings what the driver expects around them.
ARG BASE=docker.io/nvidia/cuda:13.0.1-base-ubuntu24.04
ARG NODE=docker.io/library/node:20-bookworm-slim

FROM ${NODE} AS node

FROM ${NODE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
# As bin/bootstrap.js does it, in a layer that stays while only sources change.
RUN npm install --no-save --ignore-scripts --include=dev --no-audit --no-fund
COPY tsconfig.json tsdown.config.ts requirements.txt ./
COPY bin bin
COPY pyworker pyworker
COPY src src
RUN node bin/bootstrap.js && npm prune --omit=dev --ignore-scripts --no-audit --no-fund

FROM ${BASE}
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates libstdc++6 python3 python3-venv tini \
 && rm -rf /var/lib/apt/lists/*
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/lib/node_modules/npm /usr/local/lib/node_modules/npm
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm \
 && ln -s /app/bin/sae-lens-ts.js /usr/local/bin/sae-lens-ts \
 && groupadd --gid 10001 sae && useradd --uid 10001 --gid sae --create-home sae \
 && mkdir -p /opt/sae-lens-ts /cache /work && chown sae:sae /opt/sae-lens-ts /cache /work
COPY --from=build /app /app

USER sae
# cuda or cpu: no GPU is visible while an image is built, so it has to be said.
ARG TORCH=cuda
# The environment is part of the image; what is fetched later goes to the cache volume.
RUN SAE_LENS_TS_HOME=/opt sae-lens-ts setup --torch ${TORCH} \
 && rm -rf "$HOME/.cache" && ln -s /opt/sae-lens-ts/python-*/ /opt/sae-lens-ts/python
ENV SAE_LENS_TS_PYTHON=/opt/sae-lens-ts/python/bin/python \
    SAE_LENS_TS_HOME=/cache \
    HF_HOME=/cache/huggingface \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /work
VOLUME /cache
HEALTHCHECK --interval=1m --timeout=20s --start-period=10s CMD ["sae-lens-ts", "--version"]
ENTRYPOINT ["tini", "--", "sae-lens-ts"]
CMD ["--help"]
