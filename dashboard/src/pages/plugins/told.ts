import { duration } from '../../components/format';
import type { Language, PlainKey, Translate } from '../../i18n';

/** What the broker tells of plugins is English; what the shipped ones are, and what it tells of all of them, in other words. */

const SHIPPED: Record<Exclude<Language, 'en'>, Record<string, string>> = {
  zh: {
    'Authentication with ClientId/Password': '客户端 ID/密码认证',
    'Authentication/ACL with HTTP API': 'HTTP 认证/访问控制',
    'Authentication with JWT': 'JWT 认证',
    'Authentication/ACL with LDAP': 'LDAP 认证/访问控制',
    'Authentication/ACL with MongoDB': 'MongoDB 认证/访问控制',
    'Authentication/ACL with MySQL': 'MySQL 认证/访问控制',
    'Authentication/ACL with PostgreSQL': 'PostgreSQL 认证/访问控制',
    'Authentication/ACL with Redis': 'Redis 认证/访问控制',
    'Authentication with Username/Password': '用户名/密码认证',
    'CoAP Gateway': 'CoAP 协议网关',
    'EMQ Web Dashboard': 'Web 管理控制台',
    'EMQ Hooks in lua': 'Lua 脚本钩子',
    'EMQ Modules': '扩展模块（上下线、订阅、主题重写）',
    'EMQ Plugin Template': '插件开发模板',
    'Recon Plugin': '运行诊断',
    'Reloader Plugin': '证书与文件热加载',
    'EMQ Retainer': '保留消息存储',
    'MQTT-SN Gateway': 'MQTT-SN 协议网关',
    'SockJS(Stomp) Plugin for emqttd broker': 'SockJS（Stomp）协议网关',
    'Stomp Protocol Plugin': 'Stomp 协议网关',
    'EMQ Webhook Plugin': 'WebHook 事件通知',
  },
};

/** The description in the language shown; that of a plugin of somebody else as it is. */
export function described(description: string, language: Language): string {
  return language === 'en' ? description : (SHIPPED[language][description] ?? description);
}

const FACTS: Record<string, PlainKey> = {
  kind: 'plugins.fact.kind',
  state: 'plugins.fact.state',
  'running for': 'plugins.fact.runningFor',
  calls: 'plugins.fact.calls',
  panics: 'plugins.fact.panics',
  'slow calls': 'plugins.fact.slowCalls',
  timeouts: 'plugins.fact.timeouts',
  needs: 'plugins.fact.needs',
  hooks: 'plugins.fact.hooks',
  command: 'plugins.fact.command',
};

const VALUES: Record<string, PlainKey> = {
  'built in': 'plugins.fact.builtIn',
  'not part of this version': 'plugins.fact.absent',
  active: 'plugins.running',
  inactive: 'plugins.stopped',
  'switched off after panics': 'plugins.fact.switchedOff',
};

/** A fact as it is shown: those of the plugin itself as they are. */
export function told(fact: string, value: string, t: Translate): [name: string, value: string] {
  const name = FACTS[fact];
  const word = fact === 'kind' || fact === 'state' ? VALUES[value] : undefined;
  const seconds = fact === 'running for' ? /^(\d+) s$/.exec(value)?.[1] : undefined;
  return [name ? t(name) : fact, seconds !== undefined ? duration(Number(seconds)) : word ? t(word) : value];
}
