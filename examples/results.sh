#!/usr/bin/env bash
# Writes docs/results.md anew: runs every command in it and keeps what it prints and draws.
# Usage: examples/results.sh [FOLDER]     about ten minutes on two cores; FOLDER is docs by default
# WEIGHTS and DATA are other weights and clips than the packaged ones, SEEDS, RATIOS and MIXTURES how much.
set -euo pipefail
docs=${1:-$(dirname "$0")/../docs}
figures=$docs/results
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$figures"
export COLUMNS=100
inputs=(${WEIGHTS:+--weights "$WEIGHTS"} ${DATA:+--dataset "$DATA"})
read -ra ratios <<< "${RATIOS:--5 0 5 10 20 inf}"

# show FILES COMMAND...: the command, what it prints, and those PNG of its files that are named.
show() {
    local files=$1
    shift
    printf '\n```sh\n%s -o figures\n```\n\n```\n' "$*" >> "$work/results.md"
    "$@" "${inputs[@]}" -o "$work/$2" | sed 's/ *$//' >> "$work/results.md"
    printf '```\n' >> "$work/results.md"
    for file in $files; do
        mv "$work/$2/${file#*:}.png" "$figures/${file%:*}.png"
        printf '\n![%s](results/%s.png)\n' "${file%:*}" "${file%:*}" >> "$work/results.md"
    done
    rm -r "${work:?}/$2"
}

say() { printf '\n%s\n' "$@" >> "$work/results.md"; }

cat > "$work/results.md" <<MARKDOWN
# Results, each with the command that made it

\`examples/results.sh\` writes this page: it runs the commands below, and adds what is written by hand in
results/ablation.md (from “Ablation” on), whose commands take hours and a parts folder.
The clips are the 40 of [examples/testset/](../examples/testset/README.md), the weights those that the package carries
($(avseg --version)), unless another is named. The set is small: it shows what changes with noise, and
what is inside the model, not how good it is; that stands in [weights/README.md](../weights/README.md).
MARKDOWN

say '## Noise' \
    'The paper’s Figure 7. Mean and standard deviation over the mixes; the ratio that was asked for stands
beside the mean of the ratios measured back. At "inf" the sound is as it is.' \
    'Pink noise, drawn at random:'
show noise-pink:noise avseg noise-test --noise pink --snr "${ratios[@]}" --seeds "${SEEDS:-2}"
say 'Eight voices at once. A person who is seen and silent may well be painted then: of the classes in the
pictures only "person" is in this noise.'
show noise-babble:noise avseg noise-test --noise babble --snr "${ratios[@]}" --seeds "${SEEDS:-2}"
say 'Organ, strings and bass:'
show noise-music:noise avseg noise-test --noise music --snr "${ratios[@]}" --seeds "${SEEDS:-2}"

say '## Decomposed semantics' \
    'The paper’s Figure 6. Sounds of two classes are mixed, with the picture of the first. A source counts as
found if its class is among the two whose clips lie nearest; the clips in a mixture are left out of
these. "distance to sources / to others" is 1 if a mixture lies no nearer to its sources than to
anything else. In the map a dot is a sound alone, a mixture is two triangles: before decomposition
they meet at one place, after it each stands where the token is that says its class.'
show tsne avseg tsne --mixtures "${MIXTURES:-60}"

say '## What each codeword hears' \
    'The codes of the local tokens, second by second. "purity" is the share of tokens whose code is chosen most
for the class that is heard, on the same clips; rarely chosen codes raise it. The error of quantization is
the mean squared difference of tokens and their codes; both have variance 1, so that 2 is that of strangers.'
show codebook avseg codebook

say '## Frame, truth, model' 'The paper’s Figure 5, with the clips in which most sounds at once:'
avseg panel "${inputs[@]}" -o "$work/panel" > /dev/null
mv "$work/panel/panel.png" "$figures/panel.png"
printf '\n```sh\navseg panel -o figures\n```\n\n![panel](results/panel.png)\n' >> "$work/results.md"

if [ -e "$figures/ablation.md" ]; then # by hand: hours of training on a parts folder
    printf '\n' >> "$work/results.md"
    cat "$figures/ablation.md" >> "$work/results.md"
fi
mv "$work/results.md" "$docs/results.md"
echo "$docs/results.md"
