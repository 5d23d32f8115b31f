"""Scores of trained networks on images without labels: `candidates` finds and scores them, `command` ranks them."""

from .candidates import Candidate, ScoringError, find_candidates, find_images, score

__all__ = ['Candidate', 'ScoringError', 'find_candidates', 'find_images', 'score']
