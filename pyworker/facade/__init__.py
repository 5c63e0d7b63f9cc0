"""What TypeScript calls through pythonia in a process of its own: text in, text out, no training needs it."""
