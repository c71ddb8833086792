#!/bin/sh
# Prints the lock without what this service's image does not need: left_out.sh SERVICE requirements.lock
set -eu
here=$(dirname -- "$0")
case $1 in
    trainer | evaluator) lists="$here/development.txt" ;;
    inference) lists="$here/development.txt $here/training.txt $here/sound.txt" ;;
    gateway) lists="$here/development.txt $here/training.txt $here/batches.txt" ;;
    *) lists="$here/development.txt $here/training.txt $here/batches.txt $here/sound.txt" ;;
esac
names=$(cat $lists | paste -s -d '|' -)
grep -v -i -E "^($names)==" "$2"
