"""What Frontrow is measured against, each as somebody competent would write it; nothing of Frontrow imports it."""
