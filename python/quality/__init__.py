"""What quantised weights cost glimpse-mini, on pictures and questions it was not trained on."""
