"""What a member is judged by: baselines that several share, intervals, and words that were heard."""
