import { mount } from 'svelte';
import App from './App.svelte';
import { Chat } from './chat/chat.svelte';
import './styles/base.css';
import './styles/prose.css';

const url = new URL('/v1/chat/ws', location.href);
url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
const chat = new Chat(url.href);
chat.start();
mount(App, { target: document.getElementById('app')!, props: { chat } });
