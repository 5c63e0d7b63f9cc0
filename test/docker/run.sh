#!/usr/bin/env bash
# Builds the Dockerfile for real and trains ten steps in it, without a Docker engine and without a registry: buildah
# builds, and stand-ins made here (Debian, the machine's node) carry the names of the base images. It proves our
# steps, not CUDA. Needs root, buildah and debootstrap; leaves nothing behind.
set -euo pipefail
repo=$(cd "$(dirname "$0")/../.." && pwd)

for tool in buildah debootstrap; do
  command -v "$tool" >/dev/null || {
    echo "skipped: $tool is missing (apt-get install -y --no-install-recommends buildah debootstrap)"
    exit 0
  }
done
[ "$(id -u)" = 0 ] || { echo 'skipped: making the stand-in images needs root'; exit 0; }

work=$(mktemp -d)
b() { CONTAINERS_REGISTRIES_CONF="$work/registries.conf" buildah --root "$work/store" --runroot "$work/run" --storage-driver "$driver" "$@"; }
clean_up() {
  b rm --all >/dev/null 2>&1 || true
  umount "$work/store/overlay" 2>/dev/null || true
  rm -rf "$work"
}
trap clean_up EXIT
said() { echo "[$(($(date +%s) - started)) s] $*"; }
started=$(date +%s)
driver=overlay
echo 'unqualified-search-registries=["docker.io"]' >"$work/registries.conf"

base=docker.io/library/slts-base:standin
node=docker.io/library/slts-node:standin

# The machine's own settings travel along: a proxy's certificate, folders of wheels (the CPU build of torch).
certificates=/etc/ssl/certs/ca-certificates.crt
wheels=$(python3 -m pip config get global.find-links 2>/dev/null || true)
settings=(--env PIP_CERT=/etc/ssl/host-ca.crt --env NODE_EXTRA_CA_CERTS=/etc/ssl/host-ca.crt --env "PIP_FIND_LINKS=$wheels")
volumes=()
for folder in $wheels; do
  [ ! -d "$folder" ] || volumes+=(--volume "$folder:$folder:ro")
done

said 'making the stand-in base image'
debootstrap --variant=minbase bookworm "$work/rootfs" >"$work/debootstrap.log" 2>&1 || { tail -20 "$work/debootstrap.log"; exit 1; }
c=$(b from scratch)
b add -q "$c" "$work/rootfs" / >/dev/null
b copy -q "$c" "$certificates" /etc/ssl/host-ca.crt >/dev/null
b config --cmd /bin/bash "${settings[@]}" "$c"
b commit -q "$c" "$base" >/dev/null
rm -rf "$work/rootfs"
b copy -q "$c" "$(readlink -f "$(command -v node)")" /usr/local/bin/node >/dev/null
b copy -q "$c" "$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")" /usr/local/lib/node_modules/npm >/dev/null
b run --isolation chroot "$c" -- ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
b commit -q "$c" "$node" >/dev/null
b rm "$c" >/dev/null

said 'building the image'
b bud --isolation chroot --pull=false --format docker --layers "${volumes[@]}" --build-arg BASE="$base" \
  --build-arg NODE="$node" --build-arg TORCH=cpu -t slts:test "$repo" >"$work/build.log" 2>&1 || { tail -40 "$work/build.log"; exit 1; }

c=$(b from --pull=false localhost/slts:test)
inside() { b run --isolation chroot --user sae "$c" -- "$@"; }
said 'running inside, as a user without rights'
[ "$(inside id -u)" = 10001 ]
inside tini -- sae-lens-ts doctor
b copy -q --chown sae:sae "$c" "$repo/test/docker/tiny_model.py" /work/tiny_model.py >/dev/null
inside /opt/sae-lens-ts/python/bin/python tiny_model.py /work
inside tini -- sae-lens-ts train --model_name /work/model --model_class_name AutoModelForCausalLM \
  --hook_name model.layers.0 --dataset_path /work/text.jsonl --architecture topk --k 4 --d_sae 64 \
  --context_size 32 --store_batch_size_prompts 4 --n_batches_in_buffer 4 --train_batch_size_tokens 128 \
  --training_tokens 1280 --n_eval_batches 1 --device cpu --output_path /work/sae --streaming false --log_to_wandb false
inside test -s /work/sae/sae_weights.safetensors
b inspect --type image localhost/slts:test | grep -q tini
size=$(b images --format '{{.Size}}' localhost/slts:test)
said "passed: the image ($size) builds, its doctor is content, ten steps trained"
